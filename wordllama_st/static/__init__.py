"""Static models at run time, without torch."""

try:
    from wordllama_st.static import _kernel as kernel
except ImportError:  # it could not be compiled, and NumPy does its work
    kernel = None  # type: ignore[assignment]

from wordllama_st.static.encoder import StaticEncoder, TokenVectors
from wordllama_st.static.precision import quantize_embeddings

__all__ = ["StaticEncoder", "TokenVectors", "kernel", "quantize_embeddings"]
