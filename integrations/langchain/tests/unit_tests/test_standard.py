"""LangChain's standard tests."""

from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_tests.unit_tests import EmbeddingsUnitTests

from langchain_wordllama import WordLlamaEmbeddings


class TestWordLlamaEmbeddingsUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return WordLlamaEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "wordllama-l2-supercat-128"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"HF_TOKEN": "hf_from_env"}, {}, {"token": "hf_from_env"}
