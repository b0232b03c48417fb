"""LLMTokenEmbedding: the frozen token table of a language model as an input module."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers.base.modules import InputModule
from tokenizers import Tokenizer
from torch import Tensor

from wordllama_st.codebook import Codebook
from wordllama_st.modules.trained_module import location
from wordllama_st.static.word_cache.cached import CachedTokenizer

try:
    from typing import Self
except ImportError:
    from typing_extensions import Self


class LLMTokenEmbedding(InputModule):
    """Looks up tokens in the frozen token table of a language model.

    The table is neither a parameter nor a buffer. It keeps its dtype, is memory-mapped from its file (processes on one
    machine share the pages), is not seen by the optimizer, not broadcast between ranks, and hard-linked into
    checkpoints. Words that were seen before are looked up instead of tokenized, as by
    :class:`~wordllama_st.static.encoder.StaticEncoder`.

    The output is not ``token_embeddings`` [batch, length, D] but the table and indices into it (see
    :mod:`wordllama_st.modules.token_features`), which :class:`~wordllama_st.modules.WeightedPool` sums in one step.

    Args:
        codebook: The token table [V, D] and its tokenizer.
        max_seq_length: The number of tokens after which a text is truncated. None truncates no text.

    Example:
        ::

            from sentence_transformers import SentenceTransformer
            from wordllama_st import Codebook, LLMTokenEmbedding, Projection, WeightedPool

            codebook = Codebook.load("llama-codebook")
            model = SentenceTransformer(
                modules=[
                    LLMTokenEmbedding(codebook),
                    WeightedPool(codebook.num_embeddings),
                    Projection(codebook.embedding_dim, 256),
                ]
            )
    """

    config_keys: list[str] = ["max_seq_length"]
    save_in_root: bool = False

    def __init__(self, codebook: Codebook, max_seq_length: int | None = None) -> None:
        super().__init__()
        self.codebook = codebook
        self.max_seq_length = max_seq_length
        self._tokens = CachedTokenizer(codebook.tokenizer)

    @property
    def tokenizer(self) -> Tokenizer:  # type: ignore[override]
        """The codebook's tokenizer."""
        return self.codebook.tokenizer

    def preprocess(  # type: ignore[override]
        self, inputs: Sequence[str], prompt: str | None = None, max_length: int | None = None, **kwargs: Any
    ) -> dict[str, Tensor]:
        """Tokenize texts, without special tokens.

        Args:
            inputs: B texts.
            prompt: Prepended to each text.
            max_length: Overrides ``max_seq_length`` for this call.

        Returns:
            ``input_ids`` and ``attention_mask``, [B, L] int64, padded on the right with id 0.
        """
        texts = self._prepend_prompt(list(inputs), prompt) if prompt else list(inputs)
        bags = self._tokens.bags(texts)
        counts, limit = np.diff(bags.offsets), max_length or self.max_seq_length
        lengths = np.minimum(counts, limit) if limit else counts
        is_kept = np.arange(len(bags.ids)) < np.repeat(bags.offsets[:-1] + lengths, counts)
        mask = np.arange(max(1, lengths.max())) < lengths[:, None]
        input_ids = np.zeros(mask.shape, dtype=np.int64)
        input_ids[mask] = bags.ids[is_kept]
        return {"input_ids": torch.from_numpy(input_ids), "attention_mask": torch.from_numpy(mask.astype(np.int64))}

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        mask = features["attention_mask"].bool()
        token_ids = features["input_ids"][mask]
        features.update(
            token_table=self.codebook.weight,
            token_rows=token_ids,
            token_ids=token_ids,
            token_counts=mask.sum(dim=1),
        )
        return features

    def get_embedding_dimension(self) -> int:
        return self.codebook.embedding_dim

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        self.save_config(output_path)
        self.codebook.save_files(Path(output_path))

    @classmethod
    def load(cls, model_name_or_path: str, **kwargs: Any) -> Self:  # type: ignore[override]
        where = location(kwargs)
        config = cls.load_config(model_name_or_path, **where)
        directory = cls.load_dir_path(model_name_or_path, **where)
        return cls(Codebook.load(Path(directory or model_name_or_path)), **config)
