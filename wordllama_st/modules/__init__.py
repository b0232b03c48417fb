"""sentence-transformers modules: an LLM's token table, weighted pooling, projection, binarisation."""

from wordllama_st.modules.binarize import Binarize
from wordllama_st.modules.llm_token_embedding import LLMTokenEmbedding
from wordllama_st.modules.projection import Projection
from wordllama_st.modules.weighted_pool import WeightedPool

__all__ = ["Binarize", "LLMTokenEmbedding", "Projection", "WeightedPool"]
