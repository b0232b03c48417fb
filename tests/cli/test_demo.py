"""The demo's parts: docstrings are read without importing, packages are held out whole, scores are real."""

from __future__ import annotations

from pathlib import Path

import pytest

from wordllama_st.cli import demo
from wordllama_st.cli.main import main
from wordllama_st.data import docstrings
from wordllama_st.data.docstrings import Docstring, extract_docstrings

SOURCE = '''
"""Module docstrings are not harvested."""
raise SystemExit("reading must not run this")


class Shelf:
    """A place to put books.

    It holds as many as fit, from left to right, and gives them back in the order of their titles.
    """

    def sort(self):
        """Put the books in order.

        The order is that of the alphabet, by title and then by author, and books without a title come first.
        """

    def _hidden(self):
        """Nobody should see this one.

        However long its docstring may be, and this one goes on for quite a while, for no good reason at all.
        """


def short():
    """Too short."""
'''


@pytest.fixture
def library(tmp_path: Path) -> Path:
    package = tmp_path / "library"
    (package / "tests").mkdir(parents=True)
    (package / "shelf.py").write_text(SOURCE)
    (package / "copy.py").write_text(SOURCE)
    (package / "tests" / "shelf.py").write_text(SOURCE.replace("books", "tests"))
    (package / "broken.py").write_text("def (")
    (package / "binary.py").write_bytes(b"\xff\xfe\x00")
    return package


def test_docstrings_are_read_without_importing_and_none_twice(library: Path) -> None:
    found = extract_docstrings(library)
    assert [(docstring.name, docstring.summary) for docstring in found] == [
        ("Shelf", "A place to put books."),
        ("Shelf.sort", "Put the books in order."),
    ]
    assert found[0].package == "library"
    assert found[1].body.startswith("The order is that of the alphabet")
    assert extract_docstrings(library, limit=1) == found[:1]


def test_packages_are_held_out_whole_and_none_is_in_both() -> None:
    sizes = {f"package{number}": 5 + number for number in range(40)} | {"giant": 2000}
    docstrings = {
        name: [Docstring(name, f"f{index}", "s", "b") for index in range(size)] for name, size in sizes.items()
    }
    corpus = demo.split_by_package(docstrings)
    trained, held_out = ({docstring.package for docstring in part} for part in (corpus.train, corpus.held_out))
    assert not trained & held_out
    assert len(corpus.train) + len(corpus.held_out) == sum(sizes.values())
    assert held_out
    assert "giant" not in held_out
    assert demo.split_by_package(dict(reversed(docstrings.items()))).held_out == corpus.held_out


def test_the_whole_demo_on_a_few_packages_tunes_bakes_and_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packages = ("pandas", "networkx", "requests", "tqdm", "packaging", "click", "jinja2", "pygments", "rich", "joblib")
    installed = docstrings.installed_packages()
    monkeypatch.setattr(docstrings, "installed_packages", lambda: {p: installed[p] for p in packages if p in installed})
    monkeypatch.setattr(docstrings, "MAX_PER_PACKAGE", 300)
    monkeypatch.setattr(demo, "LARGEST_HELD_OUT_SHARE", 0.5)
    assert main(["demo", "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["docstrings-128", "docstrings-256", "docstrings-64"]
    table = [line.split() for line in lines if line.startswith(("name →", "summary →"))]
    assert len(table) == 6
    untuned, tuned = ([float(row[column]) for row in table] for column in (6, 7))
    assert all(0 < score <= 1 for score in untuned + tuned)
    # So little text cannot teach much, but on the whole it teaches something.
    assert sum(tuned) > 1.01 * sum(untuned)
