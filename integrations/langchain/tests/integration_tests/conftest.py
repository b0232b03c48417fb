"""The embeddings, and a few documents that answer a question each."""

import pytest
from langchain_core.documents import Document

from langchain_wordllama import WordLlamaEmbeddings

ANSWERS = {
    "How do I grow tomatoes?": "Plant tomato seedlings in a sunny bed, water them daily and tie the stems to a stake.",
    "What does a bakery sell?": "The baker takes fresh bread, rolls and cakes out of the oven every morning.",
    "Why is my computer so slow?": "A laptop without free memory swaps to disk, and all programs respond slowly.",
    "When does the next train leave?": "The express to the coast departs from platform four at ten past nine.",
}


@pytest.fixture(scope="session")
def embeddings() -> WordLlamaEmbeddings:
    return WordLlamaEmbeddings()


@pytest.fixture(scope="session")
def answers() -> dict[str, str]:
    """The text that answers each question."""
    return ANSWERS


@pytest.fixture
def documents() -> list[Document]:
    return [Document(text, id=str(number), metadata={"number": number}) for number, text in enumerate(ANSWERS.values())]
