"""WordLlama embeddings for LlamaIndex: static, small and fast, without torch."""

from llama_index.embeddings.wordllama.base import WordLlamaEmbedding

__all__ = ["WordLlamaEmbedding"]
