"""LangChain's standard tests."""

from langchain_core.embeddings import Embeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests

from langchain_wordllama import WordLlamaEmbeddings


class TestWordLlamaEmbeddingsIntegration(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return WordLlamaEmbeddings
