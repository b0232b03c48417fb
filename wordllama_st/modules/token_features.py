"""What the modules of this package hand to each other: a batch's tokens as indices, never as [batch, length, D].

:class:`~wordllama_st.modules.LLMTokenEmbedding` adds to the features

    ``token_table``   [R, D]  vectors, one row each; at first the codebook itself, in its own dtype and place
    ``token_rows``    [T]     the row of each of the batch's T tokens, text after text
    ``token_ids``     [T]     the token id of each
    ``token_counts``  [B]     how many of them belong to each of the B texts

A projection in front of the pooling replaces the first two; the pooling consumes all four.
"""

from __future__ import annotations

from torch import Tensor


def distinct_rows(table: Tensor, rows: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of ``token_table`` that a batch uses, each once, where and as precise as ``like``.

    A batch repeats its frequent tokens, and a table of gigabytes stays where it is: only the few thousand rows in use
    are copied, cast and moved.

    Returns:
        The rows [U, D], and for each token its row among them [T].
    """
    used, index = rows.unique(return_inverse=True)
    return table[used.to(table.device)].to(like), index
