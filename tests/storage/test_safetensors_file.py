"""A safetensors header costs no more to refuse than to read, and is refused by our error."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from wordllama_st.errors import CodebookError
from wordllama_st.storage.safetensors_file import parse_header, read_header


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


@pytest.mark.parametrize(
    ("length", "size", "fault"),
    [
        (2**40, 100, "beyond the format's 100,000,000"),
        (100_000_001, 200_000_000, "beyond the format's 100,000,000"),
        (50_000_000, 100, "and ends after 100"),
    ],
)
def test_the_length_of_a_header_is_checked_before_it_is_read(
    length: int, size: int, fault: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(length.to_bytes(8, "little"))
    os.truncate(path, size)  # of zeros, which take no place
    with pytest.raises(CodebookError, match=fault):
        read_header(path)


@pytest.mark.parametrize("shape", [[2**31, 2**31], [3], [1, 1]])
def test_a_tensor_is_as_large_as_its_bytes(shape: list[int]) -> None:
    header = json.dumps({"t": {"dtype": "F32", "shape": shape, "data_offsets": [0, 8]}}).encode()
    with pytest.raises(CodebookError, match=r"'t', F32 of shape .* cannot lie at bytes 0 to 8"):
        parse_header(header, len(header) + 16, "x.safetensors")
