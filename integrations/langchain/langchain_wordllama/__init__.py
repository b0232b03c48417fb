"""WordLlama integration for LangChain."""

from langchain_wordllama.embeddings import WordLlamaEmbeddings
from langchain_wordllama.stores import texts_and_vectors

__all__ = ["WordLlamaEmbeddings", "__version__", "texts_and_vectors"]

__version__ = "0.1.0"
