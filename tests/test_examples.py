"""The examples, each run as its command says, in a short form.

Protects: every example runs as it is, from anywhere, without a network, and shows what it is there to show. They need
the integration packages and the frameworks of the development install; where these are missing the tests fail.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(example: str, *arguments: str, directory: Path) -> str:
    """Run an example and return what it prints; a failure shows its traceback."""
    command = [sys.executable, str(EXAMPLES / example), *arguments]
    result = subprocess.run(command, cwd=directory, capture_output=True, text=True, encoding="utf-8")
    assert result.returncode == 0, result.stderr
    return result.stdout


def numbers(label: str, printed: str) -> list[float]:
    """The numbers in the line that begins with a label."""
    lines = [line for line in printed.splitlines() if line.startswith(label)]
    assert len(lines) == 1, printed
    return [float(number) for number in re.findall(r"(?<![\w@.])\d+\.\d+", lines[0].removeprefix(label))]


def test_every_example_is_tested_and_explained() -> None:
    examples = {path.name for path in EXAMPLES.glob("*.py")} - {"retrieval.py"}
    # Spark is a third of a gigabyte, and needs Java.
    examples -= {"encode_spark.py"}
    tests, readme = Path(__file__).read_text(encoding="utf-8"), (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert {name for name in examples if f'"{name}"' not in tests or f"python examples/{name}" not in readme} == set()


def test_semantic_search(tmp_path: Path) -> None:
    printed = run("semantic_search.py", "read a file", "compute the mean", "--packages", "20", directory=tmp_path)
    first, read, mean = printed.strip().split("\n\n")
    assert first.endswith("docstrings of 20 packages, 256 dimensions")
    assert read.startswith("read a file\n  0.")
    assert mean.startswith("compute the mean\n  0.")
    assert len(read.splitlines()) == len(mean.splitlines()) == 4


def test_finetune_csv(tmp_path: Path) -> None:
    printed = run("finetune_csv.py", "--rows", "1000", "--out", "embedder", directory=tmp_path)
    assert "docstrings.csv: 900 pairs to train on, 100 held out" in printed
    assert numbers("after", printed)[1] > numbers("before", printed)[1]
    assert (tmp_path / "embedder" / "modules.json").is_file()


def test_finetune_csv_of_ones_own(tmp_path: Path) -> None:
    rows = "".join(f"What is number {number}?,It is called {number}.\n" for number in range(40))
    (tmp_path / "faq.csv").write_text(f"question,answer\n{rows}", encoding="utf-8")
    assert "faq.csv: 36 pairs to train on, 4 held out" in run(
        "finetune_csv.py", "faq.csv", "--epochs", "1", directory=tmp_path
    )


def test_from_your_own_llm(tmp_path: Path) -> None:
    printed = run("from_your_own_llm.py", "--pairs", "1000", "--dim", "64", directory=tmp_path)
    for metric in ("recall@10", "mrr@10"):
        before, after = numbers(metric, printed)
        assert after > before
    assert "64 dimensions" in printed


def test_other_frameworks(tmp_path: Path) -> None:
    printed = run("other_frameworks.py", directory=tmp_path).splitlines()
    assert [line.split(":")[0].strip() for line in printed[1::2]] == ["bicycle", "office", "garden"]


def test_wordllama_toolkit(tmp_path: Path) -> None:
    printed = run("wordllama_toolkit.py", directory=tmp_path)
    labels = ["similarity", "key", "rank", "topk", "filter", "deduplicate", "cluster", "split", "binary"]
    assert [line.split()[0] for line in printed.splitlines()] == labels
    assert "key          I drove to the vehicle" in printed


@pytest.mark.parametrize(
    ("example", "stores"),
    [("rag_langchain.py", ("in memory", "Chroma")), ("rag_llama_index.py", ("in memory", "Chroma", "LanceDB"))],
)
def test_retrieval(example: str, stores: tuple[str, ...], tmp_path: Path) -> None:
    printed = run(example, "--passages", "80", "--questions", "25", directory=tmp_path)
    assert printed.startswith("80 passages")
    for name in (*(f"WordLlama, {store}" for store in stores), "MiniLM, Chroma", "BM25"):
        recall = numbers(name, printed)[0]
        assert 0.4 <= recall <= 1
    assert "as fast as with MiniLM; " in printed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("example", ["adapt_langchain.py", "adapt_llama_index.py", "hybrid_lancedb.py"])
def test_adapted_retrieval(example: str, tmp_path: Path) -> None:
    printed = run(example, "--passages", "150", "--questions", "25", directory=tmp_path)
    rows = [line for line in printed.splitlines() if " ms" in line]
    assert [row for row in rows if "with BM25" in row]
    assert all(0.4 <= float(re.findall(r"0\.\d+|1\.0+", row)[0]) <= 1 for row in rows)
    assert list(tmp_path.iterdir()) == []


def test_distill_from_a_teacher(tmp_path: Path) -> None:
    printed = run("distill_from_a_teacher.py", "--texts", "1000", directory=tmp_path)
    lines = {line.rpartition(" ")[0].strip(): line.rpartition(" ")[2] for line in printed.splitlines()}
    start, projection, rows = (
        float(lines[stage])
        for stage in ("least squares, no training", "projection and token weights trained", "every row trained")
    )
    assert start < rows
    assert start - 0.02 < projection
    assert (tmp_path / "distilled" / "modules.json").is_file()


def test_adapt_to_documents(tmp_path: Path) -> None:
    printed = run("adapt_to_documents.py", directory=tmp_path)
    before, after = re.findall(r"(0\.\d+) (?:before|after)", printed)
    assert float(after) > 1.1 * float(before)
    assert (tmp_path / "adapted" / "modules.json").is_file()


def test_mixed_training(tmp_path: Path) -> None:
    printed = run("mixed_training.py", "--rows", "1000", directory=tmp_path)
    before, after = re.findall(r"(0\.\d+) (?:before|after)", printed)
    assert float(after) > float(before)
    assert (tmp_path / "mixed" / "modules.json").is_file()


def test_encode_datasets(tmp_path: Path) -> None:
    printed = run("encode_datasets.py", directory=tmp_path)
    assert printed == "1000 rows, 256 dimensions: text, embedding\n"


def test_evaluate_with_mteb(tmp_path: Path) -> None:
    printed = run("evaluate_with_mteb.py", directory=tmp_path)
    assert numbers("ndcg_at_10", printed)[0] > 0.3
