"""Static models at run time, without torch."""

from wordllama_st.static.encoder import StaticEncoder, TokenVectors
from wordllama_st.static.precision import quantize_embeddings

__all__ = ["StaticEncoder", "TokenVectors", "quantize_embeddings"]
