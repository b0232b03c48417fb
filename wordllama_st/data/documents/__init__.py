"""Training pairs from a folder of documents, from their own structure and without labels."""

from wordllama_st.data.documents.document import Document, Section, SectionKind
from wordllama_st.data.documents.pairs import (
    Pair,
    Pairs,
    Relation,
    Split,
    hold_out_documents,
    make_pairs,
    pairs_to_training_data,
)
from wordllama_st.data.documents.reading import Documents, Skipped, read_documents

__all__ = [
    "Document",
    "Documents",
    "Pair",
    "Pairs",
    "Relation",
    "Section",
    "SectionKind",
    "Skipped",
    "Split",
    "hold_out_documents",
    "make_pairs",
    "pairs_to_training_data",
    "read_documents",
]
