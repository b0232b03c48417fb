"""A token table where it was found, before anything was read of it but its place."""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Tokenizer

from wordllama_st.codebook.token_table import Rows
from wordllama_st.errors import CodebookError
from wordllama_st.storage.tokenizer import num_token_ids

#: The largest vocabularies have a million tokens. The tokenizers library, writing a vocabulary down, lists the ids that
#: it lacks: for a single damaged one, gigabytes of them, and where these are not to be had, it ends the process.
MOST_IDS = 2**24


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

    Raises:
        CodebookError: If the tokenizer has an id that no table has a row for.
    """

    rows: Rows
    tokenizer: Tokenizer
    source: str
    tensor_name: str | None = None
    architecture: str | None = None
    commit: str | None = None

    def __post_init__(self) -> None:
        if (wanted := num_token_ids(self.tokenizer)) > MOST_IDS:
            raise CodebookError(
                f"The tokenizer of {self.source} has the id {wanted - 1:,}, which no table has a row for: it is "
                f"damaged. Fetch it again."
            )
