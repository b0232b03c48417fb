"""WordLlama embeddings for LlamaIndex: static, small and fast, without torch."""

from llama_index.embeddings.wordllama.base import WordLlamaEmbedding
from llama_index.embeddings.wordllama.stores import texts_and_vectors

__all__ = ["WordLlamaEmbedding", "texts_and_vectors"]
