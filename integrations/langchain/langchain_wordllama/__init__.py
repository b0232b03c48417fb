"""WordLlama integration for LangChain."""

from langchain_wordllama.embeddings import WordLlamaEmbeddings

__all__ = ["WordLlamaEmbeddings", "__version__"]

__version__ = "0.1.0"
