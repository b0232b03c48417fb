"""What tells a model from every other one."""

from __future__ import annotations

import hashlib

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor


def fingerprint(model: SentenceTransformer) -> str:
    """A sha256 of all that a model's vectors depend on: its modules' settings, tokenizer and weights."""
    sha256 = hashlib.sha256(repr(model).encode())
    backend = getattr(model.tokenizer, "backend_tokenizer", model.tokenizer)
    if hasattr(backend, "to_str"):
        sha256.update(backend.to_str().encode())
    for name, tensor in sorted(model.state_dict().items()):
        sha256.update(f"{name} {list(tensor.shape)} {tensor.dtype}".encode())
        if isinstance(tensor, Tensor):
            sha256.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()
