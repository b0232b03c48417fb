"""The README's Python blocks run, and its table and text name every field."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from llama_index.embeddings.wordllama import WordLlamaEmbedding
from wordllama_st import StaticEncoder

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_readme(tmp_path: Path) -> None:
    # A directory counts before a repository of that name on the Hub.
    for model in ("path/to/your-model", "org/model"):
        StaticEncoder.from_pretrained("wordllama-l2-supercat-256").save_pretrained(tmp_path / model)
    code = "".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL))
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert result.stdout == "Passwords are reset on the account page, under security.\n"


def test_the_readme_names_every_field() -> None:
    assert [field for field in WordLlamaEmbedding.model_fields if f"`{field}`" not in README] == []
