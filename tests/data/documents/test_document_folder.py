"""A folder's documents: which files are read, which are not and why, and that nothing in it does any harm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wordllama_st.data.documents import read_documents
from wordllama_st.errors import DocumentError, MissingExtraError

TEXT = "Llamas are kept for their wool in the high mountains, where little else is kept, and they carry loads besides."


def write(root: Path, *paths: str, text: str = TEXT) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")


def read_paths(root: Path) -> list[str]:
    return [document.path for document in read_documents(root).documents]


def test_documents_are_read_in_the_order_of_their_paths_and_of_any_kind(tmp_path: Path) -> None:
    write(tmp_path, "b.md", "a/z.TXT", "a/é.rst", "B.html", "picture.png", "Makefile")
    write(tmp_path, "c/shelf.py", text=f'"""{TEXT}"""')
    read = read_documents(tmp_path)
    assert [(document.path, document.format) for document in read.documents] == [
        ("B.html", "HTML"),
        ("b.md", "Markdown"),
        ("a/z.TXT", "text"),
        ("a/é.rst", "reStructuredText"),
        ("c/shelf.py", "Python"),
    ]
    assert read.others == {".png": 1, "no ending": 1}
    assert read_documents(tmp_path) == read


def test_hidden_and_installed_things_and_tests_are_passed_over(tmp_path: Path) -> None:
    write(
        tmp_path, "a.md", ".hidden.md", ".git/a.md", "x/node_modules/a.md", "lib/site-packages/a.md", "x.egg-info/a.txt"
    )
    write(tmp_path, "__pycache__/a.txt", "environment/a.md", "environment/pyvenv.cfg", "tests/notes.md")
    write(tmp_path, "tests/test_shelf.py", text=f'"""{TEXT}"""')
    read = read_documents(tmp_path)
    assert [document.path for document in read.documents] == ["a.md", "tests/notes.md"]
    assert [(skipped.path, skipped.reason) for skipped in read.skipped] == [
        ("tests/test_shelf.py", "tests and vendored code")
    ]


def test_the_folder_that_was_named_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    write(tmp_path / "tests" / ".venv" / "site-packages", "a.md")
    write(tmp_path / "tests" / ".venv" / "site-packages", "b.py", text=f'"""{TEXT}"""')
    assert read_paths(tmp_path / "tests" / ".venv" / "site-packages") == ["a.md", "b.py"]


def test_links_do_no_harm(tmp_path: Path) -> None:
    write(tmp_path, "a/text.md")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "link.md").symlink_to(tmp_path / "a" / "text.md")
    (tmp_path / "broken.md").symlink_to(tmp_path / "nowhere.md")
    (tmp_path / "itself.md").symlink_to(tmp_path / "itself.md")
    os.mkfifo(tmp_path / "pipe.txt")
    read = read_documents(tmp_path)
    assert [document.path for document in read.documents] == ["link.md", "a/text.md"]
    assert {skipped.path: skipped.reason for skipped in read.skipped} == {
        "a/loop": "a link to a folder, not followed",
        "broken.md": "a broken link",
        "itself.md": "a broken link",
        "pipe.txt": "no regular file",
    }


def test_what_cannot_be_read_is_skipped_with_the_reason_and_told(tmp_path: Path) -> None:
    write(tmp_path, "good.md", "empty.txt", "log.txt")
    write(tmp_path, "empty.txt", "blank.md", text=" \n\n")
    write(tmp_path, "broken.py", text="def (")
    for number in range(5):
        (tmp_path / f"latin{number}.txt").write_bytes(b"caf\xe9")
    (tmp_path / "damaged.pdf").write_bytes(b"%PDF-1.4\n")
    with (tmp_path / "log.txt").open("wb") as file:
        file.truncate(100_000_000)
    read = read_documents(tmp_path)
    assert [document.path for document in read.documents] == ["good.md"]
    reasons = {skipped.path: skipped.reason for skipped in read.skipped}
    assert [path for path, reason in reasons.items() if reason == "without text"] == ["blank.md", "empty.txt"]
    assert reasons["log.txt"] == "larger than 10 MB, to be divided"
    lines = str(read).split("\n")
    assert lines[0] == "Documents   1: 1 Markdown"
    assert (
        "Left out    5, not UTF-8, to be converted with iconv -t utf-8: latin0.txt (byte 3), latin1.txt (byte 3), "
        "latin2.txt (byte 3) and 2 more"
    ) in lines
    assert "Left out    2, without text: blank.md, empty.txt" in lines
    assert "Left out    1, does not parse: broken.py (line 1, invalid syntax)" in lines
    assert any(line.startswith("Left out    1, damaged: damaged.pdf (") for line in lines)


def test_a_document_can_be_named_alone(tmp_path: Path) -> None:
    write(tmp_path, "notes.md")
    assert read_paths(tmp_path / "notes.md") == ["notes.md"]
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DocumentError, match=r"latin\.txt cannot be read: not UTF-8.*: byte 3\.$"):
        read_documents(tmp_path / "latin.txt")
    write(tmp_path, "blank.md", text=" ")
    with pytest.raises(DocumentError, match=r"blank\.md cannot be read: without text\.$"):
        read_documents(tmp_path / "blank.md")
    write(tmp_path, "archive.zip")
    with pytest.raises(DocumentError, match=r"is a file, and none of \.txt, "):
        read_documents(tmp_path / "archive.zip")


def test_a_folder_with_nothing_says_what_was_looked_for_and_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="There is no folder"):
        read_documents(tmp_path / "nowhere")
    with pytest.raises(DocumentError, match=r"no text in any of \.txt, .*found: no files\.$"):
        read_documents(tmp_path)
    write(tmp_path, "a.png", "b.png", "c.json")
    write(tmp_path, "blank.md", text="")
    write(tmp_path, "broken.py", text="def (")
    with pytest.raises(DocumentError) as caught:
        read_documents(tmp_path)
    assert "found: 2 .png; 1 .json; 1, without text: blank.md; 1, does not parse: broken.py (line 1, " in str(
        caught.value
    )


def test_names_that_are_no_unicode_can_be_printed(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.md")).write_text(TEXT)
    except OSError:
        pytest.skip("this file system has only names that are Unicode")
    assert read_paths(tmp_path) == ["caf\ufffd.md"]


@pytest.mark.parametrize(
    ("ending", "module", "package"),
    [(".md", "markdown_it", "markdown-it"), (".html", "bs4", "bs4"), (".pdf", "pypdf", "pypdf")],
)
def test_a_format_whose_library_is_missing_says_which_install_mends_it(
    ending: str, module: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    write(tmp_path, "plain.txt")
    assert read_paths(tmp_path) == ["plain.txt"]
    write(tmp_path, f"other{ending}")
    with pytest.raises(MissingExtraError, match=rf'{package}: pip install "wordllama-st\[documents\]"'):
        read_documents(tmp_path)


def test_importing_imports_neither_torch_nor_the_formats_libraries() -> None:
    heavy = ("torch", "datasets", "numpy", "bs4", "pypdf", "markdown_it")
    code = f"import sys, wordllama_st.data.documents; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
