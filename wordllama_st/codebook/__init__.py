"""Codebooks: where a language model keeps its token vectors, and how to take them out."""

from wordllama_st.codebook.codebook import Codebook

__all__ = ["Codebook"]
