"""Every kind of model can be evaluated, and what cannot be loaded is an error of its own kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from evaluation_tasks import SCORED, SMALL, similarity, stock
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize
from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator
from tokenizers import Tokenizer

from wordllama_st import Codebook, StaticEncoder, bake, build_model, evaluate
from wordllama_st.errors import ArgumentError, ModelLoadError
from wordllama_st.evaluation import similarity_score
from wordllama_st.static.formats.load import read_static_model
from wordllama_st.static.formats.sentence_transformers import write


def test_every_kind_of_model_stands_in_one_table(tmp_path: Path, codebook: Codebook) -> None:
    trained = build_model(codebook, dim=16)
    trained.append(Normalize())
    trained.save_pretrained(str(tmp_path / "trained"))
    bake(trained, tmp_path / "baked")
    sources = {
        "trained": tmp_path / "trained",
        "baked": str(tmp_path / "baked"),
        "in memory": trained,
        "encoder": StaticEncoder.from_pretrained(tmp_path / "baked"),
        "released": SMALL,
    }
    report = evaluate(sources, [similarity()], dims=[None, 8])
    assert [(model.name, model.dim) for model in report.models] == [
        ("trained", 16), ("baked", 16), ("in memory", 16), ("encoder", 16), ("released", 64),
    ]  # fmt: skip
    for dim in (16, 8):
        for name in ("baked", "in memory", "encoder"):
            assert report.mean(name, dim) == pytest.approx(report.mean("trained", dim), abs=1e-3)
    by_name = {model.name: model for model in report.models}
    assert by_name["trained"].runtime == by_name["in memory"].runtime == "SentenceTransformer"
    assert by_name["baked"].runtime == by_name["released"].runtime == "StaticEncoder"
    files = [path for path in (tmp_path / "baked").rglob("*") if path.is_file()]
    assert by_name["baked"].size == sum(path.stat().st_size for path in files)
    assert by_name["in memory"].size is None
    assert all(model.texts_per_second > 0 for model in report.models)


def test_a_transformer_is_scored_too(tmp_path: Path, tokenizer: Tokenizer) -> None:
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=tokenizer.get_vocab_size(), **size)).save_pretrained(tmp_path / "bert")
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="!", unk_token="!")
    wrapped.save_pretrained(tmp_path / "bert")
    model = SentenceTransformer(modules=[Transformer(str(tmp_path / "bert")), Pooling(16)], device="cpu")
    model.save_pretrained(str(tmp_path / "model"))
    (score,) = evaluate(tmp_path / "model", [similarity()]).scores
    evaluator = EmbeddingSimilarityEvaluator(*map(list, zip(*SCORED, strict=True)), main_similarity="cosine")
    assert score.score == pytest.approx(evaluator(model)["spearman_cosine"], abs=1e-3)


def test_a_damaged_model_is_an_error_of_its_own_kind(tmp_path: Path) -> None:
    write(read_static_model(SMALL), tmp_path / "static", card="# static\n")
    weights = tmp_path / "static" / "0_StaticEmbedding" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelLoadError, match=r"model\.safetensors"):
        evaluate(tmp_path / "static", [similarity()])
    (tmp_path / "other").mkdir()
    with pytest.raises(ModelLoadError, match="is no static model"):
        evaluate(tmp_path / "other", [similarity()])
    (tmp_path / "other" / "config.json").write_text("[" * 100_000)
    with pytest.raises(ModelLoadError, match="is no static model"):
        evaluate(tmp_path / "other", [similarity()])
    (tmp_path / "other" / "config.json").write_text('{"architectures": ["NoSuchModel"], "model_type": "nothing"}')
    with pytest.raises(ModelLoadError, match="cannot be loaded"):
        evaluate(tmp_path / "other", [similarity()])


def test_a_function_can_be_scored_from_a_training_loop() -> None:
    model = stock()
    task = similarity()
    expected = similarity_score(model, task, 32)
    assert similarity_score(lambda texts: model.encode(texts, convert_to_tensor=True), task, 32) == expected
    with pytest.raises(ArgumentError, match="cannot be truncated to 65"):
        similarity_score(model.encode, task, 65)
    with pytest.raises(ArgumentError, match="texts were encoded as"):
        similarity_score(lambda texts: np.zeros(3), task)
