"""A safetensors header costs no more to refuse than to read, and is refused by our error."""

from __future__ import annotations

import json

import pytest

from wordllama_st.errors import CodebookError
from wordllama_st.storage.safetensors_file import parse_header


def test_a_tensor_of_very_many_dimensions_is_refused_before_they_are_multiplied() -> None:
    """Their product grows with each, so that a header of a megabyte took many seconds."""
    entry = {"dtype": "F32", "shape": [2**62] * 60_000, "data_offsets": [0, 4]}
    header = json.dumps({"t": entry}).encode()
    with pytest.raises(CodebookError, match="'t' has 60,000 dimensions, more than 64"):
        parse_header(header, len(header) + 12, "x.safetensors")


def test_a_header_that_is_nested_too_deep_is_refused() -> None:
    header = b"[" * 100_000
    with pytest.raises(CodebookError, match="its header is not JSON"):
        parse_header(header, len(header) + 8, "x.safetensors")
