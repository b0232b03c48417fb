"""Retrieval is judged as pytrec_eval judges the same ranking: by ids and grades, ties, twins and empty documents alike.

Protects: that a static model, a transformer and a pair of both are rows alike; that BM25 stands beside and with them.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import pytrec_eval
from evaluation_tasks import PAIRS, SMALL, similarity, stock
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize, Router, Transformer
from sentence_transformers.sentence_transformer.evaluation import NanoBEIREvaluator
from sentence_transformers.sentence_transformer.modules import Pooling
from sentence_transformers.util import dot_score
from tokenizers import Tokenizer

from wordllama_st import evaluate
from wordllama_st.data.bm25 import BM25, combine_with_bm25
from wordllama_st.errors import ArgumentError, DatasetError
from wordllama_st.evaluation import Report, ReportFiles, RetrievalTask, read_retrieval
from wordllama_st.evaluation.rankings import compare
from wordllama_st.evaluation.retrieval import METRICS, NanoBEIRTask

QUERIES = {f"q{i}": PAIRS[i][0] for i in range(12)}
DOCUMENTS = {f"d{i}": document for i, (_, document) in enumerate(PAIRS)} | {
    "twin of 0": PAIRS[0][1], "twin of 1": PAIRS[1][1], "empty": "", "é": PAIRS[2][1], "also empty": "",
}  # fmt: skip
RELEVANCE = {f"q{i}": {f"d{i}": 1 + i % 3, f"d{i + 1}": i % 2, f"d{20 + i}": 1, "empty": i % 4} for i in range(12)} | {
    "q0": {"twin of 0": 3, "d0": 1}, "q11": {"d11": 0},
}  # fmt: skip


def judged(name: str = "graded") -> RetrievalTask:
    return RetrievalTask(name, QUERIES, DOCUMENTS, RELEVANCE)


def by_pytrec_eval(scores: np.ndarray[Any, Any], task: RetrievalTask) -> dict[str, dict[str, float]]:
    """Judge the whole ranking, with every document in it."""
    run = {
        query: dict(zip(task.documents, map(float, row), strict=True))
        for query, row in zip(task.relevance, scores, strict=True)
    }
    found = pytrec_eval.RelevanceEvaluator(task.relevance, set(METRICS.values())).evaluate(run)
    for metrics in found.values():
        metrics["recip_rank"] *= metrics["recip_rank"] >= 0.1
    return {query: {metric: metrics[name] for metric, name in METRICS.items()} for query, metrics in found.items()}


@pytest.fixture(scope="module")
def report() -> Report:
    others = RetrievalTask.from_pairs("facts", *zip(*PAIRS[30:], strict=True))
    return evaluate({"static": SMALL, "other": stock()}, [judged(), others], bm25=True)


def test_every_query_has_the_metrics_of_pytrec_eval(report: Report) -> None:
    task = judged()
    documents = stock().encode(list(DOCUMENTS.values()), normalize_embeddings=True)
    documents[[not text for text in DOCUMENTS.values()]] = 0
    cosines = stock().encode(list(QUERIES.values()), normalize_embeddings=True) @ documents.T
    words = BM25(list(DOCUMENTS.values())).scores(list(QUERIES.values()))
    expected = {"BM25": words, "other": cosines, "other + BM25": combine_with_bm25(cosines, words)}
    for ranking in report.rankings:
        if ranking.task == task.name and ranking.name in expected:
            found = by_pytrec_eval(expected[ranking.name], task)
            assert list(ranking.queries) == list(found) == list(QUERIES)
            for query, metrics in found.items():
                assert ranking.queries[query] == pytest.approx(metrics, abs=1e-6), (ranking.name, query)
            for metric in METRICS:
                assert ranking.metrics[metric] == pytest.approx(fmean(m[metric] for m in found.values()), abs=1e-6)
    assert report.mean("static") == pytest.approx(report.mean("other"), abs=1e-6)


@given(st.data())
@settings(max_examples=40)
def test_any_scores_are_judged_as_by_pytrec_eval_in_few_queries_at_a_time(data: st.DataObject) -> None:
    count = data.draw(st.sampled_from([2, 9, 150]))
    texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=3)
    ids = data.draw(st.lists(texts, min_size=count, max_size=count, unique=True))
    grades = st.dictionaries(st.sampled_from(ids), st.integers(-1, 3), min_size=1, max_size=5)
    relevance = {"q": {ids[0]: 1}} | data.draw(st.dictionaries(st.sampled_from("abcde"), grades))
    task = RetrievalTask("any", dict.fromkeys(relevance, "query"), {i: f"text {i}" for i in ids}, relevance)
    seed, levels = data.draw(st.integers(0, 9)), data.draw(st.sampled_from([1, 3, 1000]))
    scores = np.random.default_rng(seed).integers(0, levels, (len(relevance), count)).astype(np.float32)
    rows = iter(scores)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wordllama_st.evaluation.retrieval._SCORES", 2 * count)
        found = task.judge(lambda queries: np.stack([next(rows) for _ in queries]))
    expected = by_pytrec_eval(scores, task)
    assert found.keys() == expected.keys()
    for query, metrics in expected.items():
        assert found[query] == pytest.approx(metrics, abs=1e-6)


@pytest.mark.parametrize("precision", ["float32", "int8", "ubinary"])
def test_twins_stay_two_and_an_empty_document_scores_0(precision: Any) -> None:
    found: list[np.ndarray[Any, Any]] = []

    class Watched(RetrievalTask):
        def judge(self, search: Any) -> Any:
            found.append(search(list(self.queries.values())))
            return super().judge(search)

    evaluate(SMALL, [Watched("graded", QUERIES, DOCUMENTS, RELEVANCE)], precisions=[precision])
    (scores,) = found
    columns = dict(zip(DOCUMENTS, scores.T, strict=True))
    assert len(columns) == len(PAIRS) + 5
    np.testing.assert_array_equal(columns["twin of 0"], columns["d0"])
    assert not columns["empty"].any()
    assert np.abs(columns["d0"]).max() > 0


def test_a_transformer_a_static_model_and_an_asymmetric_pair_are_rows_alike(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    size = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=tokenizer.get_vocab_size(), **size)).save_pretrained(tmp_path / "bert")
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="!", unk_token="!")
    wrapped.save_pretrained(tmp_path / "bert")
    static, transformer = stock()[0], [Transformer(str(tmp_path / "bert")), Pooling(64), Normalize()]
    SentenceTransformer(modules=transformer, device="cpu").save_pretrained(str(tmp_path / "transformer"))
    router = Router.for_query_document(query_modules=[static, Normalize()], document_modules=transformer)
    SentenceTransformer(modules=[router], device="cpu").save_pretrained(str(tmp_path / "pair"))

    task = judged()
    sources = {"static": SMALL, "transformer": tmp_path / "transformer", "pair": tmp_path / "pair"}
    report = evaluate(sources, [task], bm25=True)
    assert [ranking.name for ranking in report.rankings] == [
        "BM25", "static", "static + BM25", "transformer", "transformer + BM25", "pair", "pair + BM25",
    ]  # fmt: skip
    assert all(ranking.milliseconds and ranking.milliseconds > 0 for ranking in report.rankings)
    loaded = SentenceTransformer(str(tmp_path / "pair"), device="cpu")
    documents = loaded.encode_document([text or "none" for text in DOCUMENTS.values()])
    documents[[not text for text in DOCUMENTS.values()]] = 0
    expected = by_pytrec_eval(loaded.encode_query(list(QUERIES.values())) @ documents.T, task)
    for query, metrics in report.rankings[5].queries.items():
        assert metrics == pytest.approx(expected[query], abs=1e-6)


def test_rows_are_compared_query_by_query_over_all_tasks(report: Report) -> None:
    pooled: dict[str, list[float]] = {}
    for ranking in report.rankings:
        pooled.setdefault(ranking.label, []).extend(metrics["ndcg@10"] for metrics in ranking.queries.values())
    assert len(report.comparisons()) == math.comb(len(pooled), 2) == 10
    test = report.comparisons()[0]
    assert (test.first, test.second) == ("BM25", "static, 64 dims, float32")
    assert test.p_value == pytest.approx(ttest_rel(pooled["BM25"], pooled[test.second]).pvalue)
    assert test.difference == pytest.approx(fmean(pooled[test.second]) - fmean(pooled["BM25"]))
    twins = [test for test in report.comparisons() if test.second.startswith("other,") and "static," in test.first]
    assert [test.p_value for test in twins] == [1.0]  # no query differs
    assert [test.p_value for test in compare([])] == []


def test_the_report_has_a_table_for_each_task_and_one_of_their_means(report: Report) -> None:
    _, graded, facts, means, _ = str(report).split("\n\n")
    assert len(graded.splitlines()) == len(facts.splitlines()) == 1 + 5
    assert graded.splitlines()[0].split() == [
        "graded", "dims", "precision", "nDCG@10", "MRR@10", "recall@10", "recall@100", "ms/query",
    ]  # fmt: skip
    *rows, note = means.splitlines()[1:]
    assert note == "p: two-sided paired t-test of nDCG@10 with BM25, over 42 queries"
    assert rows[0].split()[-1] == "-"
    assert 0 <= float(rows[1].split()[-1].lstrip("<")) <= 1
    assert rows[1].split()[:3] == ["static", "64", "float32"]
    assert float(rows[1].split()[3]) == pytest.approx(100 * report.mean("static"), abs=0.051)


def test_the_json_has_the_metrics_of_each_query(report: Report) -> None:
    read = json.loads(report.to_json())
    assert [row["name"] for row in read["rankings"][:2]] == ["BM25", "BM25"]
    assert read["rankings"][0]["queries"].keys() == QUERIES.keys()
    assert read["rankings"][0]["queries"]["q3"].keys() == METRICS.keys()
    assert read["comparisons"][0].keys() == {"first", "second", "difference", "p_value"}


def test_plot_draws_ndcg_by_the_time_of_a_query_unless_there_are_several_dims(report: Report, tmp_path: Path) -> None:
    several = evaluate(SMALL, [judged()], dims=[None, 16])
    for name, drawn, title in (("times", report, b"time of a query"), ("dims", several, b"Score by dimension")):
        path = tmp_path / f"{name}.svg"
        ReportFiles({}, plot=path).write(drawn)
        assert title in path.read_bytes()


@pytest.mark.parametrize(
    ("queries", "documents", "relevance", "message"),
    [
        (
            {"q": "a"},
            {"d": "b", "e": "c"},
            {"q": {"x": 1}},
            "of the 1 document ids in the qrels, 1 are not in the corp",
        ),
        ({}, {"d": "b", "e": "c"}, {"q": {"d": 1}}, "not in the queries, 'q' first, which has none"),
        ({"q": " "}, {"d": "b", "e": "c"}, {"q": {"d": 1}}, "the query 'q' is empty"),
        ({"q": "a"}, {"d": "b", "e": "c"}, {"q": {"d": 0}}, "no query is answered"),
        ({"q": "a"}, {"d": "b", "e": "b", "f": ""}, {"q": {"d": 1}}, "has a single document"),
        ({"q": "a"}, {"d": "", "e": ""}, {"q": {"d": 1}}, "has no document with a text"),
    ],
)
def test_judgements_without_meaning_are_refused(queries: Any, documents: Any, relevance: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        RetrievalTask("bad", queries, documents, relevance)


def test_bm25_needs_documents() -> None:
    with pytest.raises(ArgumentError, match="there is none"):
        evaluate(SMALL, [similarity()], bm25=True)


def test_nanobeir_is_scored_by_its_evaluator(tmp_path: Path) -> None:
    parts = {
        "corpus": [{"_id": key, "text": text} for key, text in DOCUMENTS.items()],
        "queries": [{"_id": key, "text": text} for key, text in QUERIES.items()],
        "qrels": [{"query-id": f"q{i}", "corpus-id": f"d{i}"} for i in range(12)],
    }
    for part, rows in parts.items():
        (tmp_path / part).mkdir()
        for name in ("NanoNQ", "NanoMSMARCO"):
            (tmp_path / part / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    files = "".join(
        f"- config_name: {part}\n  data_files:\n"
        + "".join(f"  - split: {name}\n    path: {part}/{name}.jsonl\n" for name in ("NanoNQ", "NanoMSMARCO"))
        for part in parts
    )
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{files}---\n")
    options: Any = {"precision_recall_at_k": [10, 100], "score_functions": {"cosine": dot_score}}
    evaluator = NanoBEIREvaluator(["nq", "msmarco"], dataset_id=str(tmp_path), **options)
    report = evaluate(SMALL, [NanoBEIRTask("NanoBEIR", evaluator), judged()], bm25=True)
    expected = NanoBEIREvaluator(["nq", "msmarco"], dataset_id=str(tmp_path))(stock())
    assert report.scores[0].score == pytest.approx(expected["NanoBEIR_mean_cosine_ndcg@10"])
    assert "24 queries, 126 documents in 2 collections" in str(report)
    assert f"{100 * report.scores[0].score:.1f}" in str(report).split("\n\n")[2]


def test_nanobeir_without_the_hub_is_one_line() -> None:
    with pytest.raises(
        DatasetError, match=r"NanoBEIR, the dataset .* cannot be fetched: .*OfflineMode.*HF_HUB_OFFLINE=1 reads"
    ) as caught:
        read_retrieval("nanobeir")
    assert "\n" not in str(caught.value)
