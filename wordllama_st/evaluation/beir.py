"""Retrieval data as BEIR keeps it (Thakur et al., NeurIPS 2021): a corpus, queries, and which answers which."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from wordllama_st.data.datasets import check_utf8
from wordllama_st.errors import DatasetError
from wordllama_st.evaluation.retrieval import RetrievalTask

CORPUS_FILE, QUERIES_FILE, QRELS = "corpus.jsonl", "queries.jsonl", "qrels"
_DEFAULT_SPLIT = "test"


def read_beir(directory: Path, split: str | None = None, name: str | None = None) -> RetrievalTask:
    r"""Read a directory with ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/SPLIT.tsv`` (or ``qrels.tsv``).

    A line of the first two is an object with ``_id`` and ``text``, of the corpus perhaps with a ``title``, which is put
    in front. A line of the third is ``query-id<TAB>corpus-id<TAB>score`` below a header; a score above 0 says that the
    document answers the query, and how well is not asked. Queries that none answers are left out.

    Args:
        directory: Where they are.
        split: Which of the qrels; ``test`` if None, or the only one there is.
        name: What to call the task; as the directory if None.

    Raises:
        DatasetError: If a file is missing or damaged, or the qrels name a query or a document that is not there.
    """
    corpus = dict(_texts(directory / CORPUS_FILE))
    queries = dict(_texts(directory / QUERIES_FILE))
    pairs = list(_relevant(_qrels(directory, split), queries, corpus))
    if not pairs:
        raise DatasetError(f"{directory}: no query is answered by any document.")
    return RetrievalTask(
        name or directory.resolve().name,
        [queries[query] for query, _ in pairs],
        [corpus[document] for _, document in pairs],
        list(corpus.values()),
    )


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    _check_file(path)
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
                parts = [entry.get("title") or "", entry["text"]]
                text = " ".join(part.strip() for part in parts if part.strip())
                identity = str(entry["_id"])
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DatasetError(f"{path}, line {number} is no object with an _id and a text: {error!r}.") from error
            if not text:
                raise DatasetError(f"{path}, line {number}: {identity} is empty. Fill or drop it.")
            yield identity, text


def _qrels(directory: Path, split: str | None) -> Path:
    folder = directory / QRELS
    if split is None and (directory / f"{QRELS}.tsv").is_file():
        return directory / f"{QRELS}.tsv"
    there = {path.stem: path for path in sorted(folder.glob("*.tsv"))}
    if split is None and len(there) == 1:
        return next(iter(there.values()))
    if (split or _DEFAULT_SPLIT) not in there:
        has = f"it has {', '.join(there)}: {directory}:{next(iter(there))}" if there else f"it has no {QRELS}/*.tsv"
        raise DatasetError(f"{directory} has no {QRELS}/{split or _DEFAULT_SPLIT}.tsv; {has}.")
    return there[split or _DEFAULT_SPLIT]


def _relevant(path: Path, queries: dict[str, str], corpus: dict[str, str]) -> Iterator[tuple[str, str]]:
    _check_file(path)
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            fields = line.rstrip("\r\n").split("\t")
            if number == 1 or not line.strip():
                continue
            try:
                query, document, score = fields
                answers = float(score) > 0
            except ValueError:
                raise DatasetError(f"{path}, line {number} is not a query id, a document id and a score.") from None
            if query not in queries:
                raise DatasetError(f"{path}, line {number}: there is no query {query!r} in {QUERIES_FILE}.")
            if document not in corpus:
                raise DatasetError(f"{path}, line {number}: there is no document {document!r} in {CORPUS_FILE}.")
            if answers:
                yield query, document


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise DatasetError(f"There is no file {path}.")
    check_utf8(path)
