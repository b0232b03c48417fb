"""Read retrieval tasks in the layout of BEIR from a directory, and NanoBEIR from the Hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub.errors import LocalEntryNotFoundError
from sentence_transformers.sentence_transformer.evaluation import NanoBEIREvaluator
from sentence_transformers.util import dot_score

from wordllama_st.data.corpus import CORPUS_FILE
from wordllama_st.data.text_files import check_utf8
from wordllama_st.errors import DatasetError, reason
from wordllama_st.evaluation.retrieval import NanoBEIRTask, RetrievalTask
from wordllama_st.storage.hub import check_reachable

#: The layout of a BEIR directory beside its corpus, and the split that is read unless another is named.
QUERIES_FILE, QRELS, TEST_SPLIT = "queries.jsonl", "qrels", "test"
#: What stands for NanoBEIR in place of a path, and its dataset on the Hub.
NANOBEIR, NANOBEIR_ID = "nanobeir", "sentence-transformers/NanoBEIR-en"


def read_beir(directory: Path, split: str | None = None, name: str | None = None) -> RetrievalTask:
    """Read a directory in the layout of BEIR (Thakur et al., NeurIPS 2021).

    ``corpus.jsonl`` and ``queries.jsonl`` have an object on each line, with ``_id``, ``text`` and, in the corpus,
    perhaps a ``title``, which is put in front of the text. ``qrels/SPLIT.tsv`` or ``qrels.tsv`` has query id, document
    id and grade, a whole number, separated by tabs, on each line after a header. Queries without a line there are left
    out.

    Args:
        directory: The directory.
        split: ``test``, or the only one, if None.
        name: The task's name; the directory's if None.

    Raises:
        DatasetError: If a file is missing or cannot be read, or an id is there twice; and as for
            :class:`~wordllama_st.evaluation.retrieval.RetrievalTask`.
    """
    corpus, queries = (_read_texts(directory / file) for file in (CORPUS_FILE, QUERIES_FILE))
    path = _qrels_file(directory, split)
    relevance: dict[str, dict[str, int]] = {}
    for number, line in _lines(path):
        if number == 1:
            continue
        try:
            query, document, grade = line.split("\t")
            relevance.setdefault(query, {})[document] = int(grade)
        except ValueError:
            what = "a query id, a document id and a grade, a whole number, with tabs between them"
            raise DatasetError(f"{path}, line {number} is not {what}.") from None
    return RetrievalTask(name or directory.resolve().name, queries, corpus, relevance)


def read_nanobeir() -> NanoBEIRTask:
    """Fetch NanoBEIR from the Hub, by sentence-transformers' evaluator, unless it is in the cache of datasets.

    Raises:
        DatasetError: If it can be had from neither.
    """
    try:
        check_reachable(NANOBEIR_ID)
        evaluator = NanoBEIREvaluator(
            dataset_id=NANOBEIR_ID, precision_recall_at_k=[10, 100], score_functions={"cosine": dot_score}
        )
    except (LocalEntryNotFoundError, ValueError) as error:
        fault = reason(error.__cause__ or error).rstrip(".")
        raise DatasetError(
            f"NanoBEIR, the dataset {NANOBEIR_ID} of the Hub, cannot be fetched: {fault}. Without a network, "
            f"HF_HUB_OFFLINE=1 reads it from the cache if it was fetched before."
        ) from error
    return NanoBEIRTask("NanoBEIR", evaluator)


def _read_texts(path: Path) -> dict[str, str]:
    """Read texts by their ids; one may be empty."""
    texts: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, line in _lines(path):
        try:
            entry = json.loads(line)
            parts = [entry.get("title") or "", entry["text"]]
            text = " ".join(part.strip() for part in parts if part.strip())
            identity = str(entry["_id"])
            (identity + text).encode()  # not every text of JSON is one of UTF-8
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DatasetError(f"{path}, line {number} is no object with an _id and a text: {error!r}.") from error
        if identity in texts:
            first = f"that of line {lines[identity]}"
            raise DatasetError(f"{path}, line {number}: the _id {identity!r} is {first} too. Give each its own.")
        texts[identity], lines[identity] = text, number
    return texts


def _qrels_file(directory: Path, split: str | None) -> Path:
    if split is None and (directory / f"{QRELS}.tsv").is_file():
        return directory / f"{QRELS}.tsv"
    found = {path.stem: path for path in sorted((directory / QRELS).glob("*.tsv"))}
    split = split or (next(iter(found)) if len(found) == 1 else TEST_SPLIT)
    if split in found:
        return found[split]
    if found:
        raise DatasetError(
            f"{directory} has no {QRELS}/{split}.tsv; it has {', '.join(found)}: {directory}:{next(iter(found))}"
        )
    raise DatasetError(
        f"{directory} has {CORPUS_FILE} and {QUERIES_FILE}, but no {QRELS}/{split}.tsv, which says what answers which: "
        f"after a header, a line of query id, document id and grade, with tabs between them, for each. Add it."
    )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Read the lines of a UTF-8 file that are not blank, with their numbers."""
    if not path.is_file():
        raise DatasetError(f"There is no file {path}.")
    check_utf8(path)
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line.rstrip("\r\n")
