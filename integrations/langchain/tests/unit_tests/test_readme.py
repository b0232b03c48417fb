"""The README's Python blocks run and print what it says; the values in the class's docstring are right."""

import re
import subprocess
import sys
from pathlib import Path

from wordllama_st import StaticEncoder

from langchain_wordllama import WordLlamaEmbeddings


def test_the_readme(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    # A directory counts before a repository of that name on the Hub.
    for model in ("path/to/embedder", "org/embedder"):
        StaticEncoder.from_pretrained("wordllama-l2-supercat-256").save_pretrained(tmp_path / model)
    code, printed = ("".join(re.findall(rf"```{kind}\n(.*?)```", readme, re.DOTALL)) for kind in ("python", "text"))
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert result.stdout == printed
    for setting in WordLlamaEmbeddings.model_fields:
        assert f"`{setting}`" in readme


def test_the_docstring() -> None:
    shown = re.findall(r"\[(-?\d\.\d+), ", WordLlamaEmbeddings.__doc__ or "")
    embeddings = WordLlamaEmbeddings()
    single = embeddings.embed_query("The meaning of life is 42")
    multiple = embeddings.embed_documents(["Document 1...", "Document 2..."])
    assert [float(number) for number in shown] == [single[0], multiple[0][0], single[0]]
