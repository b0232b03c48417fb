"""The features that the modules of this package exchange: a batch's tokens as indices, never as [batch, length, D].

:class:`~wordllama_st.modules.LLMTokenEmbedding` adds

    ``token_table``   [R, D]  token embeddings; at first the codebook's weight itself, in its dtype and on its device
    ``token_rows``    [T]     the row of each of the batch's T tokens, text after text
    ``token_ids``     [T]     the token id of each
    ``token_counts``  [B]     the number of tokens of each of the B texts

A projection before the pooling replaces the first two; the pooling consumes them and the token ids.
"""

from __future__ import annotations

from torch import Tensor


def distinct_rows(table: Tensor, rows: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Select the distinct rows of ``token_table`` that a batch uses, with the device and dtype of ``like``.

    Only the few thousand rows in use are copied, cast and moved, not a table of gigabytes.

    Returns:
        The rows [U, D], and the index of each token's row among them [T].
    """
    used, index = rows.unique(return_inverse=True)
    return table[used.to(table.device)].to(like), index
