"""Text that is split where its meaning changes.

The package that does it says that it is no longer developed; nothing has taken its place.
"""

from langchain_experimental.text_splitter import SemanticChunker

from langchain_wordllama import WordLlamaEmbeddings

GARDEN = (
    "Tomato plants need full sun and regular watering. Tie the tomato stems to stakes as the plants grow. "
    "Ripe tomatoes are picked from the plants in late summer."
)
TRAIN = (
    "The express train leaves the station at nine. Passengers buy train tickets at the station counter. "
    "Late trains wait for passengers at the main station."
)


def test_text_is_split_where_its_subject_changes(embeddings: WordLlamaEmbeddings) -> None:
    splitter = SemanticChunker(embeddings, buffer_size=0, number_of_chunks=2)
    assert splitter.split_text(f"{GARDEN} {TRAIN}") == [GARDEN, TRAIN]


def test_documents_keep_their_metadata(embeddings: WordLlamaEmbeddings) -> None:
    splitter = SemanticChunker(embeddings, buffer_size=0, number_of_chunks=2)
    chunks = splitter.create_documents([f"{TRAIN} {GARDEN}"], [{"source": "both"}])
    assert [chunk.page_content for chunk in chunks] == [TRAIN, GARDEN]
    assert [chunk.metadata for chunk in chunks] == [{"source": "both"}] * 2
