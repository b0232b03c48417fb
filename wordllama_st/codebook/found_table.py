"""A token table where it was found, before anything was read of it but its place."""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Tokenizer

from wordllama_st.codebook.rows import Rows


@dataclass(frozen=True)
class FoundTable:
    """A token table where it was found.

    Attributes:
        rows: The table [V, D], its rows as the model has them, padding rows included. Not checked yet.
        tokenizer: The model's tokenizer, as the model has it.
        source: The directory, file, released name or repository.
        tensor_name: The table's key there.
        architecture: The model class or architecture that the source names, if it names one.
        commit: Of the Hub repository, if it comes from one.
    """

    rows: Rows
    tokenizer: Tokenizer
    source: str
    tensor_name: str | None = None
    architecture: str | None = None
    commit: str | None = None
