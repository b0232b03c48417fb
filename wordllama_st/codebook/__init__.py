"""Codebooks: where a language model keeps its token vectors, and how to take them out."""

from wordllama_st.codebook.codebook import Codebook
from wordllama_st.codebook.find import Provenance, find_table
from wordllama_st.codebook.token_table import FoundTable

__all__ = ["Codebook", "FoundTable", "Provenance", "find_table"]
