"""The static encoder gives the stock library's vectors, without torch, and says what is wrong with what it is given.

Protects: equality with the stock ``SentenceTransformer`` and with the exact mean; every argument of ``encode``; the
other runtimes' classes; that neither torch nor sentence-transformers is imported; errors.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from encoders import EMBEDDED, TEXTS, encoder
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import quantize_embeddings as stock_quantize
from tokenizer_kinds import CORPUS, KINDS

from wordllama_st import Codebook, StaticEncoder, build_model
from wordllama_st.errors import ArgumentError, ModelLoadError, ModelUnavailableError, UnknownModelError
from wordllama_st.static import pooling, projection, quantize_embeddings
from wordllama_st.static.formats import model2vec as model2vec_format
from wordllama_st.static.pooling import mean_vector, mean_vectors
from wordllama_st.static.projection import project
from wordllama_st.static.table import StaticTable
from wordllama_st.static.word_cache.plain import Bags
from wordllama_st.storage.tokenizer import num_token_ids


def exact(encoder: StaticEncoder, text: str) -> npt.NDArray[np.float64]:
    ids = encoder.tokenizer.encode(text, add_special_tokens=False).ids
    rows = encoder.table.rows(ids).astype(np.float64)
    return rows.mean(axis=0) if ids else np.zeros(encoder.dim)


def relative_error(actual: npt.NDArray[np.float32], expected: npt.NDArray[np.float64]) -> float:
    length = float(np.linalg.norm(expected))
    return float(np.linalg.norm(actual - expected)) / length if length else float(np.abs(actual).max())


@pytest.mark.parametrize("kind", ["llama2", "llama3", "bert", "t5"])
@given(batch=st.lists(st.text() | st.lists(st.sampled_from(CORPUS), max_size=9).map(" ".join), min_size=9, max_size=12))
@settings(max_examples=50)
def test_every_vector_is_the_mean_of_the_tokens_rows(kind: str, batch: list[str]) -> None:
    made = encoder(kind)
    for text, together in zip(batch, made.encode(batch), strict=True):
        expected = exact(made, text)
        assert relative_error(together, expected) <= 1e-6
        assert relative_error(made.encode(text), expected) <= 1e-6


@pytest.mark.parametrize("kind", ["llama2", "gpt2"])
def test_a_megabyte_is_summed_without_losing_digits(kind: str) -> None:
    made = encoder(kind)
    text = (" ".join(CORPUS) + " ") * 1000
    assert len(text) > 2**20
    assert relative_error(made.encode(text), exact(made, text)) <= 1e-6


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> tuple[SentenceTransformer, StaticEncoder]:
    """The same directory in both."""
    directory = tmp_path_factory.mktemp("model") / "saved"
    table = encoder().table
    with_prompts = StaticTable(table.weight, table.tokenizer, normalize=True, prompts={"query": "query: ", "none": ""})
    StaticEncoder(with_prompts).save_pretrained(directory)
    return SentenceTransformer(str(directory)), StaticEncoder.from_pretrained(directory)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"normalize_embeddings": True},
        {"truncate_dim": 8},
        {"truncate_dim": 8, "normalize_embeddings": True},
        {"prompt_name": "query"},
        {"prompt": "passage: "},
        {"batch_size": 3},
        {"precision": "int8"},
        {"precision": "uint8", "truncate_dim": 8},
        {"precision": "binary"},
        {"precision": "ubinary"},
        {"precision": "float32"},
    ],
    ids=str,
)
def test_encode_is_the_stock_classs(
    stock: tuple[SentenceTransformer, StaticEncoder], options: dict[str, object]
) -> None:
    theirs, ours = stock
    expected = theirs.encode(TEXTS, **options)
    actual = ours.encode(TEXTS, **options)  # type: ignore[arg-type]
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    if expected.dtype == np.float32:
        np.testing.assert_allclose(actual, expected, atol=1e-5)  # the stock class sums long texts in float32
    else:
        # A number at the border of two buckets may fall into either.
        assert (actual != expected).mean() < 0.01
    if "int8" not in str(options.get("precision")):
        np.testing.assert_array_equal(ours.encode(TEXTS[0], **options), actual[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary", "float32"])
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(2, 20), dim=st.integers(1, 40))
@settings(max_examples=30)
def test_quantization_is_the_stock_librarys(precision: str, seed: int, count: int, dim: int) -> None:
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((count, dim)).astype(np.float32)
    ranges = np.stack([vectors.min(axis=0), vectors.max(axis=0)])
    expected = stock_quantize(vectors, precision=precision, ranges=ranges)  # type: ignore[arg-type]
    np.testing.assert_array_equal(quantize_embeddings(vectors, precision), expected)  # type: ignore[arg-type]
    np.testing.assert_array_equal(quantize_embeddings(vectors, precision, ranges), expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("similarity_fn_name", ["cosine", "dot", "euclidean", "manhattan"])
def test_similarity_is_the_stock_classs(similarity_fn_name: str) -> None:
    table = encoder().table
    ours = StaticEncoder(StaticTable(table.weight, table.tokenizer, similarity_fn_name=similarity_fn_name))
    theirs = SentenceTransformer(modules=[_stock_module(table)], similarity_fn_name=similarity_fn_name)
    a, b = ours.encode(TEXTS), ours.encode(TEXTS[3:8])
    np.testing.assert_allclose(ours.similarity(a, b), theirs.similarity(a, b).numpy(), rtol=1e-4, atol=1e-4)
    assert ours.similarity(a[0], b[0]).shape == (1, 1)


def _stock_module(table: StaticTable) -> object:
    from wordllama_st.modules.stock import static_modules

    return static_modules(table)[0]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_small_tables_are_what_they_say_in_memory_and_on_disk(dtype: str, tmp_path: Path) -> None:
    table = encoder().table
    small = StaticEncoder(table, dtype=dtype)  # type: ignore[arg-type]
    assert small.table.weight.dtype == dtype
    together = small.encode(TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):
        assert relative_error(vector, exact(small, text)) <= 1e-6
        assert relative_error(vector, exact(encoder(), text)) <= {"float32": 1e-6, "float16": 5e-4, "int8": 2e-2}[dtype]
    layout = "model2vec" if dtype == "int8" else "sentence-transformers"
    small.save_pretrained(tmp_path / "small", format=layout)  # type: ignore[arg-type]
    again = StaticEncoder.from_pretrained(tmp_path / "small", dtype=dtype)  # type: ignore[arg-type]
    assert again.table.weight.dtype == dtype
    np.testing.assert_array_equal(again.encode(TEXTS), together)
    stock = SentenceTransformer(str(tmp_path / "small")).encode(TEXTS)
    np.testing.assert_allclose(stock.astype(np.float32), together, atol=2e-3 if dtype == "float16" else 1e-5)


def test_a_quantised_vocabulary_stays_small(tmp_path: Path) -> None:
    tokenizer = KINDS["bert"]()
    generator = np.random.default_rng(0)
    count = num_token_ids(tokenizer)
    table = StaticTable(
        generator.standard_normal((50, 16)).astype(np.float32),
        tokenizer,
        mapping=generator.integers(0, 50, count),
        scales=generator.random(count).astype(np.float32),
    )
    model2vec_format.write(table, tmp_path / "model", card="")
    made = StaticEncoder.from_pretrained(tmp_path / "model")
    vectors = made.encode(TEXTS)
    assert made._batch_table.weight.shape == (50, 16)
    for text, vector in zip(TEXTS, vectors, strict=True):
        assert relative_error(vector, exact(made, text)) <= 1e-6
    np.testing.assert_allclose(StaticEncoder(made.table, dtype="float32").encode(TEXTS), vectors, atol=1e-6)


def test_scales_are_folded_into_a_half_precision_table_once(tmp_path: Path) -> None:
    tokenizer = KINDS["llama2"]()
    count = num_token_ids(tokenizer)
    generator = np.random.default_rng(0)
    table = StaticTable(
        generator.standard_normal((50, 8)).astype(np.float32),
        tokenizer,
        mapping=generator.integers(0, 50, count),
        scales=generator.random(count).astype(np.float32),
    )
    expected = StaticEncoder(table).encode(CORPUS)
    for quantized in (table, table.quantized()):
        half = StaticEncoder(quantized, dtype="float16").encode(CORPUS)
        np.testing.assert_allclose(half, expected, atol=2e-2)


def test_the_wordllama_packages_class_computes_the_same() -> None:
    made = StaticEncoder.from_pretrained(EMBEDDED)
    toolkit = made.to_wordllama()
    texts = ["a llama", "an alpaca", "gravity"]
    np.testing.assert_allclose(toolkit.embed(texts), made.encode(texts), atol=1e-5)
    assert toolkit.topk("a camel", texts, k=1)[0] in texts[:2]
    # It sets padding on its tokenizer, which must not be the encoder's.
    assert made.tokenizer.padding is None


def test_texts_may_be_any_iterable() -> None:
    made = encoder()
    expected = made.encode(TEXTS)
    sources: list[Callable[[], object]] = [lambda: tuple(TEXTS), lambda: iter(TEXTS), lambda: np.array(TEXTS)]
    for source in sources:
        np.testing.assert_array_equal(made.encode(source()), expected)  # type: ignore[arg-type]
    assert made.encode([]).shape == (0, 32)
    assert made.encode("one").shape == (32,)


def test_a_stream_is_encoded_as_it_comes() -> None:
    made, taken = encoder(), 0

    def source() -> Iterator[str]:
        nonlocal taken
        for text in TEXTS * 5:
            taken += 1
            yield text

    vectors = made.encode_stream(source(), batch_size=4, normalize_embeddings=True)
    assert taken == 0
    first = next(vectors)
    assert taken == 4
    rest = list(vectors)
    np.testing.assert_allclose([first, *rest], made.encode(TEXTS * 5, normalize_embeddings=True), atol=1e-6)
    with pytest.raises(ArgumentError, match="Text 5 is int"):
        list(made.encode_stream([*TEXTS[:5], 3], batch_size=2))  # type: ignore[list-item]
    with pytest.raises(ArgumentError, match="no ranges for int8"):
        next(made.encode_stream(TEXTS, precision="int8"))


def test_token_vectors_are_those_the_mean_is_of() -> None:
    made = encoder()
    tokens, ids, vectors = made.token_vectors("the lazy dog")
    assert tokens == [made.tokenizer.id_to_token(token_id) for token_id in ids]
    np.testing.assert_allclose(vectors.mean(axis=0), made.encode("the lazy dog"), atol=1e-6)
    assert made.token_vectors("").vectors.shape == (0, 32)


def test_truncated_from_the_start() -> None:
    made = StaticEncoder.from_pretrained(EMBEDDED, truncate_dim=64)
    assert made.dim == 64
    whole = StaticEncoder.from_pretrained(EMBEDDED)
    np.testing.assert_allclose(made.encode(TEXTS), whole.encode(TEXTS, truncate_dim=64), atol=1e-6)
    np.testing.assert_allclose(whole.encode(TEXTS[0])[:64], made.encode(TEXTS[0]), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("is_scaled", [False, True])
def test_the_extension_and_scipy_give_the_same_bits(
    dtype: str, is_scaled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pooling.kernel is not None
    generator = np.random.default_rng(0)
    for dim in (2, 24, 257):
        weight = (100 * generator.standard_normal((100, dim))).astype(dtype)
        offsets = np.array([0, 1, 1, 5, 40, 42, 42, 298, 555, 1300, 1300])  # empty texts and several segments too
        ids = generator.integers(0, 100, offsets[-1]).astype(np.int32)
        scales = generator.standard_normal(100).astype(np.float32) if is_scaled else None
        table, bags = StaticTable(weight, encoder().tokenizer, scales=scales), Bags(ids, offsets)
        compiled, mean = mean_vectors(table, bags), mean_vector(table, ids.tolist())
        with monkeypatch.context() as patch:
            patch.setattr(pooling, "kernel", None)
            np.testing.assert_array_equal(mean_vectors(table, bags), compiled)
            np.testing.assert_array_equal(mean_vector(table, ids.tolist()), mean)


def test_the_extension_reads_every_number_of_16_bits_as_numpy_does() -> None:
    numbers = np.arange(2**16, dtype=np.uint16).view(np.float16)
    numbers = numbers[np.isfinite(numbers)]
    table = StaticTable(np.stack([numbers, numbers]), encoder().tokenizer)
    means = mean_vectors(table, Bags(np.zeros(1, np.int32), np.array([0, 1])))
    np.testing.assert_array_equal(means[0], numbers.astype(np.float32))


def test_the_extension_and_numpy_give_the_same_bits_of_a_product(monkeypatch: pytest.MonkeyPatch) -> None:
    assert projection.kernel is not None
    generator = np.random.default_rng(0)
    for rows, dim, width in ((0, 8, 3), (1, 1, 1), (5, 7, 1030), (70, 24, 2049), (33, 257, 100)):
        vectors, matrix = (generator.standard_normal(shape, np.float32) for shape in ((rows, dim), (dim, width)))
        compiled = project(vectors, matrix)
        np.testing.assert_allclose(compiled, vectors.astype(float) @ matrix, atol=1e-4)
        np.testing.assert_array_equal(project(vectors, np.asfortranarray(matrix)), compiled)
        for row, product in zip(vectors, compiled, strict=True):
            np.testing.assert_array_equal(project(row, matrix), product)
        with monkeypatch.context() as patch:
            patch.setattr(projection, "kernel", None)
            np.testing.assert_array_equal(project(vectors, matrix), compiled)
            if rows:
                np.testing.assert_array_equal(project(vectors[-1], matrix), compiled[-1])


def test_nothing_heavy_is_imported() -> None:
    heavy = (
        "torch",
        "sentence_transformers",
        "transformers",
        "scipy.sparse",
        "wordllama",
        "model2vec",
        "huggingface_hub",
    )
    code = (
        "import sys; from wordllama_st import StaticEncoder\n"
        f"e = StaticEncoder.from_pretrained({EMBEDDED!r}); e.encode('a'); e.encode(['a text of words'] * 20000)\n"
        f"print([name for name in {heavy!r} if name in sys.modules], e._tokens._words is not None)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "[] True"


# Bad input


@pytest.mark.parametrize(
    ("sentences", "message"),
    [
        (["a", None], r"Text 1 is NoneType, not str: 'None'"),
        (["a", "b", 3.5], r"Text 2 is float"),
        ([b"bytes"], r"Text 0 is bytes"),
        (b"bytes", r"this is bytes"),
        (None, r"this is NoneType"),
        (7, r"this is int"),
        ([["nested"]], r"Text 0 is list"),
        (["fine", "half \ud83d of a pair"], r"Text 1 has half of a surrogate pair, '\\ud83d', at character 5"),
        ("\udc00", r"Text 0 has half of a surrogate pair"),
        (["a"] * 20 + ["\udc00"], r"Text 20 has half"),
    ],
)
def test_what_is_no_text_is_named(sentences: object, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        encoder().encode(sentences)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=message):
        StaticEncoder(encoder().table).encode(sentences)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"truncate_dim": 33}, "have 32 dimensions; they cannot be cut to 33"),
        ({"truncate_dim": 0}, "cannot be cut to 0"),
        ({"batch_size": 0}, "one text at least"),
        ({"precision": "int4"}, "The precision is one of float32, int8"),
        ({"prompt_name": "query"}, "no prompt 'query'; it has none"),
    ],
)
def test_arguments_without_a_meaning_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        encoder().encode(["a"], **options)  # type: ignore[arg-type]


def test_one_text_has_no_ranges() -> None:
    with pytest.raises(ArgumentError, match="One text says nothing of the ranges"):
        encoder().encode("a", precision="int8")


@pytest.mark.parametrize("options", [{"dtype": "float64"}, {"word_memory": -1}, {"truncate_dim": 99}])
def test_an_encoder_that_cannot_be_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ArgumentError):
        StaticEncoder(encoder().table, **options)  # type: ignore[arg-type]


def test_what_is_no_static_model_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    build_model(Codebook.from_pretrained("wordllama-l2-supercat-64"), 16).save_pretrained(str(tmp_path / "trained"))
    with pytest.raises(ModelLoadError, match="wordllama-st bake"):
        StaticEncoder.from_pretrained(tmp_path / "trained")
    with pytest.raises(UnknownModelError):
        StaticEncoder.from_pretrained("wordllama-l9-supercat-256")
    with pytest.raises(ModelUnavailableError):
        StaticEncoder.from_pretrained(tmp_path / "nothing")
    with pytest.raises(ArgumentError, match="not 'onnx'"):
        encoder().save_pretrained(tmp_path / "saved", format="onnx")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="model2vec"):
        StaticEncoder(encoder().table, dtype="int8").save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
