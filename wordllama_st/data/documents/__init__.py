"""Training pairs from a folder of documents, by their own structure and with no labels."""

from wordllama_st.data.documents.document import Document, Section, SectionKind
from wordllama_st.data.documents.holding_out import Split, hold_out_documents
from wordllama_st.data.documents.pairs import Pair, Pairs, Relation, make_pairs
from wordllama_st.data.documents.reading import Documents, Skipped, read_documents
from wordllama_st.data.documents.summary import summarize_documents, summarize_pairs, summarize_split

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
    "read_documents",
    "summarize_documents",
    "summarize_pairs",
    "summarize_split",
]
