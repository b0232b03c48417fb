"""Modules of sentence-transformers: frozen token embeddings, weighted pooling, projection, binarization."""

from wordllama_st.modules.binarize import Binarize
from wordllama_st.modules.llm_token_embedding import LLMTokenEmbedding
from wordllama_st.modules.projection import Projection
from wordllama_st.modules.weighted_pool import WeightedPool

__all__ = ["Binarize", "LLMTokenEmbedding", "Projection", "WeightedPool"]
