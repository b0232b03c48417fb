"""Plain texts that a machine can install, for learning from a teacher: WordNet, docstrings, and sentences you have.

WordNet 3.0 is Debian's ``wordnet-base``: found where it is installed, else fetched with apt into a folder, without
root. Labels are never read.
"""

from __future__ import annotations

import csv
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from wordllama_st.data.docstrings import extract_installed_docstrings

INSTALLED = Path("/usr/share/wordnet")
PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")
#: Of a docstring's body.
CHARACTERS = 200
MIN_WORDS = 2


def quality_texts(work: Path, data: Path, limit: int) -> list[str]:
    """The same texts in the same order, for the same packages installed.

    Args:
        work: A folder to fetch WordNet into.
        data: A folder with ``sts/train-*.tsv`` and ``ag_news_test.csv``, of which the texts alone are taken.
        limit: How many at most; docstrings and WordNet's entries with their words fill what the others leave.
    """
    definitions, examples, entries = _wordnet(work)
    sentences = [text for file in sorted(data.glob("sts/train-*.tsv")) for text in _sentences(file)]
    news = list(_news(data / "ag_news_test.csv"))
    docstrings = [
        text
        for found in extract_installed_docstrings().values()
        for docstring in found
        for text in (docstring.summary, " ".join(docstring.body.split())[:CHARACTERS])
    ]
    shuffled = random.Random(0)
    texts = _distinct([*definitions, *examples, *sentences, *news])
    for rest, share in ((entries, 0.6), (docstrings, 1.0)):
        wanted = round(share * max(0, limit - len(texts)))
        rest = _distinct(rest)
        texts = _distinct([*texts, *shuffled.sample(rest, min(wanted, len(rest)))])
    texts = texts[:limit]
    shuffled.shuffle(texts)
    return texts


def _distinct(texts: list[str]) -> list[str]:
    return [text for text in dict.fromkeys(text.strip() for text in texts) if len(text.split()) >= MIN_WORDS]


def _wordnet(work: Path) -> tuple[list[str], list[str], list[str]]:
    """Definitions, examples, and definitions behind the words they define."""
    definitions, examples, entries = [], [], []
    folder = _wordnet_folder(work)
    for part in PARTS_OF_SPEECH:
        for line in (folder / f"data.{part}").read_text(encoding="utf-8").splitlines():
            if line.startswith("  "):  # the licence
                continue
            fields, _, gloss = line.partition("|")
            columns = fields.split()
            words = [
                re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in columns[4 : 4 + 2 * int(columns[3], 16) : 2]
            ]
            definition = re.sub(r';?\s*"[^"]*"', "", gloss).strip(" ;")
            definitions.append(definition)
            entries.append(f"{', '.join(words)}: {definition}")
            examples += re.findall(r'"([^"]+)"', gloss)
    return definitions, examples, entries


def _wordnet_folder(work: Path) -> Path:
    unpacked = work / "wordnet"
    if INSTALLED.is_dir():
        return INSTALLED
    if not unpacked.is_dir():
        work.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "wordnet-base"], cwd=work, check=True)
        (package,) = work.glob("wordnet-base_*.deb")
        subprocess.run(["dpkg-deb", "-x", package.name, unpacked.name], cwd=work, check=True)
    return unpacked / INSTALLED.relative_to("/")


def _sentences(file: Path) -> Iterator[str]:
    with file.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield from (row["sentence1"], row["sentence2"])


def _news(file: Path) -> Iterator[str]:
    with file.open(encoding="utf-8", newline="") as lines:
        for _label, title, description in csv.reader(lines):
            yield from (title, description)
