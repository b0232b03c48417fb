"""Training: the library's own Trainer and losses train what is trainable, and leave the token table alone.

Every test here trains for real. What they protect: each loss of the library finds gradients and falls, with both
legal orders of the modules, in every dtype of the table; the table costs neither a second copy on disk nor a place
in the optimizer; and a run that was interrupted ends where it would have ended.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, DatasetDict
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator
from torch import Tensor, nn

from wordllama_st import Binarize, Codebook, LLMTokenEmbedding, Projection, WeightedPool, model_from_pretrained

DIM = 16
MATRYOSHKA_DIMS = [DIM, DIM // 2]
TEACHER_DIM = 24
TABLE_FILE = Path("0_LLMTokenEmbedding") / "codebook.safetensors"

Stack = Callable[..., SentenceTransformer]
MakeLoss = Callable[[SentenceTransformer], nn.Module]
MakeData = Callable[[Dataset], Dataset]


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same initial weights in every run of a test, and others in each model it builds."""
    torch.manual_seed(0)


def project_texts(codebook: Codebook, *last: nn.Module) -> SentenceTransformer:
    """Pool, then project each text."""
    modules = [WeightedPool(codebook.num_embeddings), Projection(codebook.embedding_dim, DIM), *last]
    return SentenceTransformer(modules=[LLMTokenEmbedding(codebook), *modules], device="cpu")


def project_tokens(codebook: Codebook, *last: nn.Module) -> SentenceTransformer:
    """Project each distinct token through a hidden layer, then pool."""
    projection = Projection(codebook.embedding_dim, DIM, hidden_features=24)
    modules = [projection, WeightedPool(codebook.num_embeddings), *last]
    return SentenceTransformer(modules=[LLMTokenEmbedding(codebook), *modules], device="cpu")


def make_trainer(
    model: SentenceTransformer,
    data: Dataset | DatasetDict,
    loss: nn.Module | dict[str, nn.Module],
    output: Path,
    *,
    eval_dataset: Dataset | None = None,
    evaluator: EmbeddingSimilarityEvaluator | None = None,
    **arguments: Any,
) -> SentenceTransformerTrainer:
    """The library's Trainer, set to some twenty quick steps; whatever else is wanted of it comes as arguments."""
    defaults: dict[str, Any] = {
        "max_steps": 20,
        "per_device_train_batch_size": 32,
        "learning_rate": 2e-2,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    return SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(output_dir=str(output), **defaults | arguments),
        train_dataset=data,
        eval_dataset=eval_dataset,
        evaluator=evaluator,
        loss=loss,
    )


def loss_on(trainer: SentenceTransformerTrainer, data: Dataset, name: str | None = None) -> float:
    """The trainer's loss on a whole dataset, as one batch."""
    batch = trainer.data_collator([row | ({"dataset_name": name} if name else {}) for row in data])
    with torch.no_grad():
        return float(trainer.compute_loss(trainer.model, batch))


def check_training(trainer: SentenceTransformerTrainer, data: dict[str | None, Dataset]) -> None:
    """Train, and check that every loss falls, every trainable tensor changes and the table keeps its very bytes."""
    codebook: Codebook = trainer.model[0].codebook
    dtype = codebook.weight.dtype
    losses_before = {name: loss_on(trainer, dataset, name) for name, dataset in data.items()}
    weights_before = weights(trainer.model)
    trainer.train()
    for name, dataset in data.items():
        assert loss_on(trainer, dataset, name) < 0.6 * losses_before[name]
    for name, weight in weights(trainer.model).items():
        assert weight.isfinite().all(), name
        assert not torch.equal(weight, weights_before[name]), name
    assert codebook.weight.dtype == dtype
    assert hashlib.sha256(table_bytes(codebook)).hexdigest() == codebook.provenance.sha256


def weights(model: SentenceTransformer) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def table_bytes(codebook: Codebook) -> bytes:
    return codebook.weight.view(torch.uint8).numpy().tobytes()


def scored(pairs: Dataset) -> Dataset:
    """Each anchor with its positive, and with another row's."""
    anchors, positives = list(pairs["anchor"]), list(pairs["positive"])
    return Dataset.from_dict(
        {
            "first": anchors + anchors,
            "second": positives + positives[1:] + positives[:1],
            "score": [1.0] * len(anchors) + [0.0] * len(anchors),
        }
    )


def triplets(pairs: Dataset) -> Dataset:
    positives = list(pairs["positive"])
    return pairs.add_column("negative", positives[1:] + positives[:1])


def taught(pairs: Dataset, dim: int) -> Dataset:
    """Each anchor with its teacher's vector: the mean of fixed vectors of its words."""
    texts = [text.strip(".").split() for text in pairs["anchor"]]
    generator = torch.Generator().manual_seed(0)
    words = {word: torch.randn(dim, generator=generator) for text in texts for word in text}
    labels = [torch.stack([words[word] for word in text]).mean(dim=0).tolist() for text in texts]
    return Dataset.from_dict({"text": list(pairs["anchor"]), "label": labels})


def ranking(model: SentenceTransformer) -> nn.Module:
    return losses.MultipleNegativesRankingLoss(model)


def cached_ranking(model: SentenceTransformer) -> nn.Module:
    # A size that divides no batch, so that the last mini-batch is a smaller one.
    return losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=5)


RECIPES: dict[str, tuple[MakeLoss, MakeData]] = {
    "ranking": (ranking, lambda pairs: pairs),
    "cached-ranking": (cached_ranking, lambda pairs: pairs),
    "ranking-triplets": (ranking, triplets),
    "matryoshka": (lambda model: losses.MatryoshkaLoss(model, ranking(model), MATRYOSHKA_DIMS), lambda pairs: pairs),
    "cached-matryoshka": (
        lambda model: losses.MatryoshkaLoss(model, cached_ranking(model), MATRYOSHKA_DIMS),
        lambda pairs: pairs,
    ),
    "cosent": (losses.CoSENTLoss, scored),
    "triplet": (lambda model: losses.TripletLoss(model, triplet_margin=1.0), triplets),
    "mse": (losses.MSELoss, lambda pairs: taught(pairs, DIM)),
    "embed-distill": (
        lambda model: losses.EmbedDistillLoss(model, projection_dim=TEACHER_DIM),
        lambda pairs: taught(pairs, TEACHER_DIM),
    ),
}

both_stacks = pytest.mark.parametrize("stack", [project_texts, project_tokens])
every_dtype = pytest.mark.parametrize("codebook", [torch.float32, torch.float16, torch.bfloat16], indirect=True)
half_dtypes = pytest.mark.parametrize("codebook", [torch.float16, torch.bfloat16], indirect=True)


@both_stacks
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_loss_falls_and_only_the_trainable_weights_change(
    recipe: str, stack: Stack, codebook: Codebook, pairs: Dataset, tmp_path: Path
) -> None:
    make_loss, make_data = RECIPES[recipe]
    model, data = stack(codebook), make_data(pairs)
    check_training(make_trainer(model, data, make_loss(model), tmp_path), {None: data})


@both_stacks
@half_dtypes
def test_a_half_precision_table_trains_and_stays_as_it_is(
    stack: Stack, codebook: Codebook, pairs: Dataset, tmp_path: Path
) -> None:
    model = stack(codebook)
    check_training(make_trainer(model, pairs, cached_ranking(model), tmp_path), {None: pairs})


@pytest.mark.parametrize("estimator", ["ste", "tanh", "reste"])
def test_sign_embeddings_train_with_every_estimator(
    estimator: str, codebook: Codebook, pairs: Dataset, tmp_path: Path
) -> None:
    # Signs change one at a time: it takes more steps until the loss on them has fallen for certain.
    model = project_texts(codebook, Binarize(estimator))
    check_training(make_trainer(model, pairs, ranking(model), tmp_path, max_steps=60), {None: pairs})
    assert set(model.encode(pairs["anchor"][:]).flatten().tolist()) == {-1.0, 1.0}


@both_stacks
def test_several_datasets_train_at_once_each_with_its_loss(
    stack: Stack, codebook: Codebook, pairs: Dataset, tmp_path: Path
) -> None:
    model = stack(codebook)
    data = DatasetDict({"pairs": pairs, "scored": scored(pairs)})
    loss = {"pairs": ranking(model), "scored": losses.CoSENTLoss(model)}
    check_training(make_trainer(model, data, loss, tmp_path, max_steps=30), dict(data))


@both_stacks
@pytest.mark.parametrize("codebook", [torch.float32, torch.bfloat16], indirect=True)
def test_training_under_bfloat16_autocast_keeps_float32_weights(
    stack: Stack, codebook: Codebook, pairs: Dataset, tmp_path: Path
) -> None:
    model = stack(codebook)
    computed_in: set[torch.dtype] = set()
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_hook(lambda _layer, _inputs, output: computed_in.add(output.dtype))
    check_training(make_trainer(model, pairs, ranking(model), tmp_path, bf16=True), {None: pairs})
    assert torch.bfloat16 in computed_in  # or there was no autocast to speak of
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


@both_stacks
@every_dtype
def test_a_model_that_has_already_encoded_can_be_trained(
    stack: Stack, codebook: Codebook, pairs: Dataset, tmp_path: Path
) -> None:
    # encode runs in inference mode: a tensor that is made there and kept cannot take part in training.
    model = stack(codebook)
    model.encode(pairs["anchor"][:])
    check_training(make_trainer(model, pairs, ranking(model), tmp_path), {None: pairs})


@both_stacks
@pytest.mark.parametrize("matryoshka_dims", [None, MATRYOSHKA_DIMS])
@pytest.mark.parametrize("mini_batch_size", [1, 5])
def test_cached_and_uncached_ranking_have_the_same_gradients(
    stack: Stack, matryoshka_dims: list[int] | None, mini_batch_size: int, codebook: Codebook, pairs: Dataset
) -> None:
    # An empty text among them: of a mini-batch of empty texts, the cached loss cuts off every column.
    columns = [[*pairs["anchor"][:12], ""], [*pairs["positive"][:12], "nothing"]]

    def gradients(model: SentenceTransformer, loss: nn.Module) -> dict[str, Tensor]:
        if matryoshka_dims is not None:
            loss = losses.MatryoshkaLoss(model, loss, matryoshka_dims)
        loss([model.preprocess(texts) for texts in columns], None).backward()
        return {name: parameter.grad for name, parameter in model.named_parameters()}

    model = stack(codebook)
    same_model = copy.deepcopy(model)
    uncached = gradients(model, losses.MultipleNegativesRankingLoss(model))
    cached = gradients(
        same_model, losses.CachedMultipleNegativesRankingLoss(same_model, mini_batch_size=mini_batch_size)
    )
    for name, gradient in uncached.items():
        assert gradient.abs().max() > 1e-3, name
        torch.testing.assert_close(cached[name], gradient, rtol=1e-5, atol=1e-5)


@both_stacks
def test_the_evaluator_runs_during_training_and_sees_it_improve(
    stack: Stack, codebook: Codebook, pairs: Dataset, tmp_path: Path
) -> None:
    data = scored(pairs)
    evaluator = EmbeddingSimilarityEvaluator(data["first"][:], data["second"][:], data["score"][:], name="pairs")
    model = stack(codebook)
    before = evaluator(model)["pairs_pearson_cosine"]
    trainer = make_trainer(
        model, pairs, ranking(model), tmp_path, evaluator=evaluator, eval_strategy="steps", eval_steps=10
    )
    trainer.train()
    key = "eval_pairs_pearson_cosine"
    scores = {entry["step"]: entry[key] for entry in trainer.state.log_history if key in entry}
    assert list(scores) == [10, 20]
    assert scores[20] > before + 0.05


@both_stacks
def test_the_best_checkpoint_is_loaded_at_the_end(
    stack: Stack, codebook: Codebook, pairs: Dataset, tmp_path: Path
) -> None:
    model = stack(codebook)
    trainer = make_trainer(
        model,
        pairs,
        ranking(model),
        tmp_path,
        eval_dataset=pairs,
        eval_strategy="steps",
        eval_steps=10,
        save_strategy="steps",
        save_steps=10,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=True,  # so that the first checkpoint is the best, and the last weights are the wrong ones
    )
    trainer.train()
    best, last = tmp_path / "checkpoint-10", tmp_path / "checkpoint-20"
    assert trainer.state.best_model_checkpoint == str(best)
    assert same_weights(model, model_from_pretrained(best))
    assert not same_weights(model, model_from_pretrained(last))
    assert model[0].codebook is codebook


@both_stacks
@every_dtype
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    stack: Stack, codebook: Codebook, pairs: Dataset, tmp_path: Path
) -> None:
    model = stack(codebook)
    arguments: dict[str, Any] = {"max_steps": 8, "save_strategy": "steps", "save_steps": 4}
    make_trainer(model, pairs, cached_ranking(model), tmp_path / "whole", **arguments).train()
    checkpoint = tmp_path / "whole" / "checkpoint-4"
    assert not same_weights(model, model_from_pretrained(checkpoint))

    resumed = stack(codebook)
    trainer = make_trainer(resumed, pairs, cached_ranking(resumed), tmp_path / "resumed", **arguments)
    trainer.train(resume_from_checkpoint=str(checkpoint))
    assert not (tmp_path / "resumed" / "checkpoint-4").exists()
    assert same_weights(resumed, model)


@both_stacks
@every_dtype
def test_a_saved_checkpoint_gives_the_same_embeddings(
    stack: Stack, codebook: Codebook, pairs: Dataset, tmp_path: Path
) -> None:
    model = stack(codebook)
    make_trainer(model, pairs, ranking(model), tmp_path, max_steps=4, save_strategy="steps", save_steps=4).train()
    loaded = model_from_pretrained(tmp_path / "checkpoint-4", device="cpu")
    texts = [*pairs["positive"][:], ""]
    assert torch.equal(loaded.encode(texts, convert_to_tensor=True), model.encode(texts, convert_to_tensor=True))


@both_stacks
@every_dtype
@pytest.mark.parametrize("saved_before", [False, True])
def test_checkpoints_share_one_table_on_disk_and_the_optimizer_has_none(
    stack: Stack, saved_before: bool, codebook: Codebook, pairs: Dataset, tmp_path: Path
) -> None:
    if saved_before:
        codebook.save(tmp_path / "codebook")
    model = stack(codebook)
    trainer = make_trainer(
        model, pairs, ranking(model), tmp_path / "run", max_steps=4, save_strategy="steps", save_steps=2
    )
    trainer.train()
    checkpoints = [tmp_path / "run" / f"checkpoint-{step}" for step in (2, 4)]
    first, second = [checkpoint / TABLE_FILE for checkpoint in checkpoints]
    assert first.samefile(second)
    assert first.stat().st_nlink == (3 if saved_before else 2)

    whole = table_bytes(codebook)
    assert whole in first.read_bytes()
    some_row = whole[len(whole) // 2 :][: codebook.weight[0].nbytes]
    for checkpoint in checkpoints:
        others = [path for path in checkpoint.rglob("*") if path.is_file() and not path.samefile(first)]
        assert {"optimizer.pt", "model.safetensors"} <= {path.name for path in others}
        assert not [path for path in others if some_row in path.read_bytes()]

    state = [tensor for entry in trainer.optimizer.state.values() for tensor in entry.values()]
    grouped = [tensor for group in trainer.optimizer.param_groups for tensor in group["params"]]
    assert state
    assert all(tensor.numel() < codebook.weight.numel() for tensor in [*state, *grouped])


def test_the_table_outlives_the_checkpoint_it_was_first_written_to(
    codebook: Codebook, pairs: Dataset, tmp_path: Path
) -> None:
    model = project_texts(codebook)
    saving: dict[str, Any] = {"save_strategy": "steps", "save_steps": 2, "save_total_limit": 1}
    make_trainer(model, pairs, ranking(model), tmp_path, max_steps=6, **saving).train()
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-6"]
    model.save_pretrained(str(tmp_path / "final"))
    assert (tmp_path / "final" / TABLE_FILE).samefile(tmp_path / "checkpoint-6" / TABLE_FILE)
    assert torch.equal(model_from_pretrained(tmp_path / "final")[0].codebook.weight, codebook.weight)


@both_stacks
@every_dtype
def test_the_table_is_neither_a_parameter_nor_a_buffer_nor_in_the_state(stack: Stack, codebook: Codebook) -> None:
    model = stack(codebook)
    model.encode(["The table has been used."])
    held = [*model.parameters(), *model.buffers(), *model.state_dict().values()]
    assert held
    assert codebook.weight.data_ptr() not in {tensor.data_ptr() for tensor in held}
    assert all(tensor.numel() < codebook.weight.numel() for tensor in held)


@both_stacks
@half_dtypes
def test_a_half_precision_table_does_not_make_the_weights_half_precision(stack: Stack, codebook: Codebook) -> None:
    model = stack(codebook)
    assert {name: weight.dtype for name, weight in model.named_parameters() if weight.dtype != torch.float32} == {}
    assert model.encode("one text").dtype == "float32"
    assert codebook.weight.dtype in (torch.float16, torch.bfloat16)


def same_weights(model: SentenceTransformer, other: SentenceTransformer) -> bool:
    ours, theirs = weights(model), weights(other)
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)
