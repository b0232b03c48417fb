"""The README's first example prints what the README says, and the class's docstring tells what is so."""

import re
import subprocess
import sys
from pathlib import Path

from langchain_wordllama import WordLlamaEmbeddings


def test_the_readme() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    match = re.search(r"```python\n(.*?)```\s+```text\n(.*?)```", readme, re.DOTALL)
    assert match is not None
    code, printed = match.groups()
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == printed
    for setting in WordLlamaEmbeddings.model_fields:
        assert f"`{setting}`" in readme


def test_the_docstring() -> None:
    shown = re.findall(r"\[(-?\d\.\d+), ", WordLlamaEmbeddings.__doc__ or "")
    embeddings = WordLlamaEmbeddings()
    single = embeddings.embed_query("The meaning of life is 42")
    multiple = embeddings.embed_documents(["Document 1...", "Document 2..."])
    assert [float(number) for number in shown] == [single[0], multiple[0][0], single[0]]
