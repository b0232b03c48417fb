"""Pairs follow from the structure of documents, none says nothing, and nothing of what is held out is trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import networkx
import pytest
from texts import made_up_pairs

from wordllama_st.data.datasets import Kind
from wordllama_st.data.documents import (
    Document,
    Documents,
    Pair,
    Pairs,
    Relation,
    Section,
    SectionKind,
    hold_out_documents,
    make_pairs,
    pairs,
    read_documents,
)
from wordllama_st.data.documents.pairs import pairs_to_training_data
from wordllama_st.data.documents.passages import fold, words
from wordllama_st.errors import ArgumentError, DocumentError

FACTS = [first for first, _ in made_up_pairs(4000, seed=3)]
TITLE, NEIGHBOURS, NAME, BODY, COMMENT = Relation


@cache
def real() -> tuple[Documents, Pairs]:
    """The sources of a package, with some two hundred documented modules."""
    read = read_documents(Path(networkx.__file__).parent)
    return read, make_pairs(read.documents)


def document(path: str, *sections: tuple[str, Sequence[str]], kind: SectionKind = SectionKind.TEXT) -> Document:
    return Document(path, "text", tuple(Section((heading,), tuple(texts), kind) for heading, texts in sections))


def paired(monkeypatch: pytest.MonkeyPatch, *documents: Document) -> list[tuple[str, str, Relation]]:
    monkeypatch.setattr(pairs, "FEWEST_PAIRS", 0)
    return [(pair.anchor, pair.positive, pair.relation) for pair in make_pairs(documents).pairs]


def test_headings_and_neighbours_are_paired(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = tuple(FACTS[:5])
    made = paired(monkeypatch, Document("a.md", "Markdown", (Section(("Animals", "Habits"), texts),)))
    assert made == [
        *(("Animals, Habits", text, TITLE) for text in texts[:3]),
        *((first, second, NEIGHBOURS) for first, second in pairwise(texts)),
    ]


def test_names_summaries_and_comments_are_paired(monkeypatch: pytest.MonkeyPatch) -> None:
    definition = document("a.py", ("Shelf.sort_all", FACTS[:4]), kind=SectionKind.DEFINITION)
    comments = document("b.py", ("HTTPServer", FACTS[4:6]), kind=SectionKind.COMMENTS)
    summary, first, second, third = FACTS[:4]
    assert paired(monkeypatch, definition, comments) == [
        ("Shelf.sort_all Shelf sort all", summary, NAME),
        (summary, first, BODY),
        (summary, second, BODY),
        (summary, third, BODY),
        (first, second, NEIGHBOURS),
        (second, third, NEIGHBOURS),
        ("HTTPServer HTTP Server", FACTS[4], COMMENT),
        ("HTTPServer HTTP Server", FACTS[5], COMMENT),
    ]


def test_only_the_relations_asked_for_are_made() -> None:
    read, made = real()
    only = make_pairs(read.documents, [NAME])
    assert only.pairs == tuple(pair for pair in made.pairs if pair.relation is NAME)


def test_a_pair_whose_positive_says_nothing_new_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    longer = f"{FACTS[0]} Every word of this one is new to that."
    for anchor, positive in ((FACTS[0], FACTS[0].upper()), (longer, FACTS[0]), (FACTS[0], f"{FACTS[0]} Once more.")):
        made = paired(monkeypatch, document("a", ("A", [anchor, positive])))
        assert {relation for _, _, relation in made} == {TITLE}
    assert (FACTS[0], longer, NEIGHBOURS) in paired(monkeypatch, document("a", ("A", [FACTS[0], longer])))
    assert paired(monkeypatch, document("a", ("Read csv file", ["Read a CSV file."]))) == []


def test_numbers_and_data_are_in_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [FACTS[0], "1.0 2.0 3.0 4.0 5.0 a b c d", FACTS[1], "Zm9v" * 100]
    assert paired(monkeypatch, document("a", ("A", texts))) == [("A", FACTS[0], TITLE), ("A", FACTS[1], TITLE)]


def test_boilerplate_is_in_no_pair_and_copies_are_paired_once(monkeypatch: pytest.MonkeyPatch) -> None:
    licence = "Whoever receives a copy of this may use, change and give it away without asking anyone."
    documents = [document(f"{n}.txt", (f"Title {n}", [licence, FACTS[n]])) for n in range(3)]
    assert [pair[:2] for pair in paired(monkeypatch, *documents)] == [(f"Title {n}", FACTS[n]) for n in range(3)]
    versions = [
        Document(f"v{n}/wool.md", "Markdown", (Section((f"Manual {n}", "Wool"), tuple(FACTS[:2])),)) for n in range(5)
    ]
    assert paired(monkeypatch, *versions) == paired(monkeypatch, versions[0])
    assert len(paired(monkeypatch, *versions)) == 3


def test_a_heading_above_everything_is_no_anchor(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [document(f"{n}.txt", ("Introduction", [FACTS[n], FACTS[n + 10]])) for n in range(3)]
    assert {pair[2] for pair in paired(monkeypatch, *documents)} == {NEIGHBOURS}


def test_no_pair_of_a_real_package_is_there_twice_or_says_the_same_twice() -> None:
    read, made = real()
    assert len(read.documents) > 100
    found = Counter(pair.relation for pair in made.pairs)
    assert min(found[relation] for relation in (NEIGHBOURS, NAME, BODY, COMMENT)) > 100
    assert len({(fold(pair.anchor), fold(pair.positive)) for pair in made.pairs}) == len(made.pairs)
    sections = {document.path: document.sections for document in read.documents}
    for pair in made.pairs:
        assert len(set(words(pair.positive)) - set(words(pair.anchor))) >= 3
        assert sections[pair.path][pair.section].passages[pair.passage] == pair.positive
    assert (
        "shortest_path shortest path",
        "Compute shortest paths in the graph.",
    ) in {(pair.anchor, pair.positive) for pair in made.pairs}
    lines = str(made).split("\n")
    assert lines[0].startswith(f"Pairs       {len(made.pairs):,}: {found[NEIGHBOURS]:,} neighbouring passages, ")
    assert "boilerplate (below 3 different headings or more)" in lines[1]


def test_too_few_pairs_say_so() -> None:
    with pytest.raises(DocumentError) as caught:
        make_pairs([document("a.md", ("One", [FACTS[0], FACTS[1], FACTS[1]]))])
    assert str(caught.value).startswith(
        "The documents (1) have too few pairs of text (3, and 2 left out: there already, the same said twice); training"
    )


@pytest.mark.parametrize("seed", range(5))
def test_nothing_of_a_held_out_document_is_trained_on(seed: int) -> None:
    _, made = real()
    split = hold_out_documents(made.pairs, 0.15, seed)
    assert split.by == "documents"
    assert not {pair.path for pair in split.train} & {pair.path for pair in split.held_out}
    trained, held_out = (
        {fold(text) for pair in part for text in (pair.anchor, pair.positive)} for part in (split.train, split.held_out)
    )
    assert not trained & held_out
    assert len(split.train) + len(split.held_out) + split.removed == len(made.pairs)
    assert 0.15 <= len(split.held_out) / len(made.pairs) < 0.26
    assert split.names == tuple(dict.fromkeys(pair.path for pair in split.held_out))


def test_the_text_of_a_held_out_document_is_removed_from_others() -> None:
    shared = "The same sentence is found in every one of these documents, word for word."
    made = [
        Pair(f"{fact} {n}", text, TITLE, f"{n}.md", 0, 0)
        for n, fact in enumerate(FACTS[:40])
        for text in (f"{fact} too", shared.upper() if n % 2 else shared)
    ]
    split = hold_out_documents(made)
    assert split.removed == len({pair.path for pair in made} - set(split.names))
    assert fold(shared) not in {fold(pair.positive) for pair in split.train}
    assert f"{split.removed} in neither, for the same text is held out" in str(split)


def numbered(count: int, each: int, path: str = "notes/{}.md") -> list[Pair]:
    texts = iter(FACTS)
    return [Pair(next(texts), next(texts), NEIGHBOURS, path.format(n), 0, i) for n in range(count) for i in range(each)]


def test_the_split_is_the_same_on_every_machine() -> None:
    made = numbered(30, 10)
    assert hold_out_documents(made).names == ("notes/0.md", "notes/4.md", "notes/8.md", "notes/12.md", "notes/21.md")
    assert set(hold_out_documents(made[::-1]).names) == set(hold_out_documents(made).names)
    assert hold_out_documents(made, seed=7).names != hold_out_documents(made).names
    composed, decomposed = (numbered(30, 10, path) for path in ("caf\u00e9/{}.md", "cafe\u0301/{}.md"))
    chosen = [{pair.anchor for pair in hold_out_documents(part).held_out} for part in (composed, decomposed)]
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize("count", [4, 5, 8, 30])
def test_a_few_documents_are_on_either_side(count: int) -> None:
    split = hold_out_documents(numbered(count, 6))
    assert split.by == "documents"
    assert len(split.names) >= 2
    assert len({pair.path for pair in split.train}) >= 2
    assert len(split.held_out) >= 10


def test_a_document_that_outweighs_the_others_is_trained_on() -> None:
    made = numbered(12, 10)
    giant = [replace(pair, path="giant.txt", anchor=f"{pair.anchor} {n}") for n in range(9) for pair in made]
    for seed in range(5):
        assert "giant.txt" not in hold_out_documents(made + giant, seed=seed).names


def test_a_single_document_is_held_out_by_sections_and_says_so() -> None:
    sections = [(f"Chapter {n}", FACTS[4 * n : 4 * n + 4]) for n in range(30)]
    made = make_pairs([document("book.txt", *sections)])
    split = hold_out_documents(made.pairs)
    assert split.by == "sections"
    assert not {pair.section for pair in split.train} & {pair.section for pair in split.held_out}
    assert "sections of book.txt, too few documents to hold out whole" in str(split)
    # A book without any headings is held out in parts.
    made = make_pairs([document("book.txt", ("", FACTS[:200]))])
    split = hold_out_documents(made.pairs)
    assert len(split.held_out) >= 0.15 * len(made.pairs)
    texts = {text for pair in split.held_out for text in (pair.anchor, pair.positive)}
    assert not any(pair.positive in texts or pair.anchor in texts for pair in split.train)


def test_what_cannot_be_divided_says_so() -> None:
    with pytest.raises(DocumentError, match="24 pairs in 2 sections, and cannot be divided"):
        hold_out_documents(numbered(1, 24))
    for share in (0, 1, 1.5):
        with pytest.raises(ArgumentError, match="between 0 and 1"):
            hold_out_documents(numbered(9, 9), share)


def test_pairs_are_training_data_by_relation_and_can_be_evaluated() -> None:
    from wordllama_st import Codebook, build_model
    from wordllama_st.training.supervised import make_evaluator

    _, made = real()
    split = hold_out_documents(made.pairs)
    data = pairs_to_training_data(split.held_out)
    assert list(data) == ["neighbouring passages", "name → docstring", "summary → body", "name → comment"]
    assert all(part.kind is Kind.PAIRS and part.text_columns == ["anchor", "positive"] for part in data.values())
    assert sum(len(part.rows) for part in data.values()) == len(split.held_out)
    model = build_model(Codebook.from_pretrained("wordllama-l2-supercat-64"), 64, "identity")
    scores = make_evaluator(data["summary → body"], "held-out", 64)(model)
    # Far from perfect, and far above chance, which is ten of some hundreds.
    assert 0.2 < scores["held-out_cosine_recall@10"] < 0.99
    assert pairs_to_training_data(split.held_out[:1]) == {}
