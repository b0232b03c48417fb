"""Embeddings of collections that do not fit in memory: files of texts to Parquet files with an embedding column."""

from wordllama_st.static.dataset.embedding import EmbedTexts
from wordllama_st.static.dataset.encode import encode_dataset
from wordllama_st.static.dataset.report import EncodingReport

__all__ = ["EmbedTexts", "EncodingReport", "encode_dataset"]
