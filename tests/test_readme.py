"""The code in the README and in docs/: Python blocks run or at least compile, and commands parse.

Protects: whoever copies a block of the README into an interpreter or a shell gets what the README says.
"""

from __future__ import annotations

import argparse
import ast
import csv
import re
import shlex
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from texts import made_up_pairs
from tokenizers import Tokenizer

from wordllama_st.cli.main import _parser, main

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: The model that the README names, and the one that runs in its place: the same in a quarter of the time.
MODEL, SMALL_MODEL = "wordllama-l2-supercat-256", "wordllama-l2-supercat-64"
#: The commands of the README that take no longer than a second or two.
CHEAP = ("models", "encode", "explain", "compress")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in some languages."""
    fenced = re.findall(r"^ *```(\w+)\n(.*?)^ *```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [block for language, block in fenced if language in languages]


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of each ``wordllama-st`` command in a page's blocks."""
    for block in blocks(page, "sh", "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            name, *arguments = shlex.split(line, comments=True) or [""]
            if name == "wordllama-st":
                yield arguments


@pytest.fixture
def folder(tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files that the README names: a CSV, texts, documents, a checkpoint and a teacher."""
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from wordllama_st.static import StaticEncoder

    pairs = made_up_pairs(60)
    with (tmp_path / "faq.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("question", "answer"), *pairs])
    (tmp_path / "texts.txt").write_text("\n".join(text for pair in pairs for text in pair), encoding="utf-8")
    (tmp_path / "docs").mkdir()
    for name in ("extract.md", "train.md", "adapt.md", "evaluate.md"):
        shutil.copy(ROOT / "docs" / "guides" / name, tmp_path / "docs")
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    llama = LlamaForCausalLM(LlamaConfig(vocab_size=tokenizer.get_vocab_size(), **sizes))
    llama.save_pretrained(tmp_path / "path" / "to" / "checkpoint")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(tmp_path / "path" / "to" / "checkpoint")
    # What is on disk wins over a name on the Hub: a teacher that is as small as the rest.
    StaticEncoder.from_pretrained(MODEL).save_pretrained(tmp_path / "sentence-transformers" / "all-MiniLM-L6-v2")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readme_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for number, block in enumerate(blocks(README, "python"), 1):
        code = block.replace(MODEL, SMALL_MODEL)
        exec(compile(code, f"README.md, Python block {number}", "exec"), {})
        printed.append(capsys.readouterr().out)
    trained, distilled, adapted, encoded, found = printed
    assert "recall@10, 256 dims" in trained
    assert "cosine to the teacher" in distilled
    assert "held-out retrieval, nDCG@10" in adapted
    assert "adapted queries, documents' vectors, with BM25" in adapted
    assert float(encoded.strip("[ ").split()[0]) == pytest.approx(1)
    assert found == "The express departs from platform four.\n" * 2
    for name in ("faq-embedder", "student", "faq-tuned", "docs-tuned", "queries", "pair"):
        assert (folder / name / "modules.json").is_file()


def test_the_cheap_commands_of_the_readme_run(folder: Path) -> None:
    cheap = [arguments for arguments in commands(README) if arguments[0] in CHEAP]
    assert {arguments[0] for arguments in cheap} >= {"models", "encode", "explain"}
    for arguments in cheap:
        assert main(arguments) == 0, arguments


@each_page
def test_commands_parse(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(parser: argparse.ArgumentParser, message: str) -> None:
        raise AssertionError(f"{parser.prog}: {message}")

    monkeypatch.setattr(argparse.ArgumentParser, "error", fail)
    for arguments in commands(page):
        _parser().parse_args(arguments)


@each_page
def test_python_compiles_and_its_names_are_there(page: Path) -> None:
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("wordllama_st"):
                for name in node.names:
                    assert hasattr(import_module(str(node.module)), name.name), f"{node.module} has no {name.name}"


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 200
