"""Training pairs from a folder of documents, from their own structure and without labels."""

from wordllama_st.data.documents.document import Document, Section, SectionKind
from wordllama_st.data.documents.pairs import Pair, Pairs, Relation, Split, hold_out_documents, make_pairs
from wordllama_st.data.documents.reading import Documents, read_documents

__all__ = [
    "Document",
    "Documents",
    "Pair",
    "Pairs",
    "Relation",
    "Section",
    "SectionKind",
    "Split",
    "hold_out_documents",
    "make_pairs",
    "read_documents",
]
