"""The README's Python blocks run and print what it says; the values in the class's docstring are right."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from langchain_chroma import Chroma
from wordllama_st import StaticEncoder

from langchain_wordllama import WordLlamaEmbeddings

from .texts import TEXTS


def test_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    # A directory counts before a repository of that name on the Hub.
    for model in ("path/to/embedder", "org/embedder"):
        StaticEncoder.from_pretrained("wordllama-l2-supercat-64").save_pretrained(model)
    embedder = WordLlamaEmbeddings(model="path/to/embedder")
    Chroma.from_texts(TEXTS, embedder, collection_name="manual", persist_directory="index")
    code, printed = ("".join(re.findall(rf"```{kind}\n(.*?)```", readme, re.DOTALL)) for kind in ("python", "text"))
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout == printed
    for setting in WordLlamaEmbeddings.model_fields:
        assert f"`{setting}`" in readme


def test_the_docstring() -> None:
    shown = re.findall(r"\[(-?\d\.\d+), ", WordLlamaEmbeddings.__doc__ or "")
    embeddings = WordLlamaEmbeddings()
    single = embeddings.embed_query("The meaning of life is 42")
    multiple = embeddings.embed_documents(["Document 1...", "Document 2..."])
    assert [float(number) for number in shown] == [single[0], multiple[0][0], single[0]]
