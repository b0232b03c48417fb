"""Writing static models for the runtimes of other people.

Protects: what is written loads in the library whose layout it is, and here, with the same vectors; nothing is cut and
no special tokens are added, whatever the tokenizer was; dtype, mapping, scales, prompts and similarity survive where
the layout has a place for them, and a table is refused where it has none; directories appear whole or not at all.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from model2vec import StaticModel
from sentence_transformers import SentenceTransformer
from static_models import TABLES, TEXTS, embed, random_table, tolerance
from tokenizers import Tokenizer

from wordllama_st.errors import ArgumentError, OutputExistsError
from wordllama_st.static.formats import model2vec, sentence_transformers, wordllama
from wordllama_st.static.formats.load import read_static_model
from wordllama_st.static.table import StaticTable

CARD = "# A model\n\nof random numbers.\n"
LAYOUTS: dict[str, Callable[..., None]] = {
    "sentence_transformers": sentence_transformers.write,
    "model2vec": model2vec.write,
    "wordllama": wordllama.write,
}
FLOAT_TABLES = [kind for kind in TABLES if "int8" not in kind]

#: The README.md's own lines, and what the texts' vectors are then.
_WORDLLAMA = """
import json, sys
import numpy as np

job = json.load(sys.stdin)
for directory, lines in job["usages"].items():
    scope = {}
    exec(lines.replace("path/to/this/directory", directory).replace('["some text"]', repr(job["texts"])), scope)
    np.save(directory + ".npy", scope["embeddings"])
"""


def stock(directory: Path) -> npt.NDArray[Any]:
    """The texts' vectors by the stock class, without a prompt."""
    return SentenceTransformer(str(directory), device="cpu").encode(TEXTS, prompt="")


# In the libraries themselves


@pytest.mark.parametrize("kind", FLOAT_TABLES)
def test_sentence_transformers_loads_its_layout(kind: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    table = TABLES[kind](tokenizer)
    sentence_transformers.write(table, tmp_path / "model", card=CARD)
    np.testing.assert_allclose(stock(tmp_path / "model"), embed(table, TEXTS), atol=tolerance(table))


@pytest.mark.parametrize("kind", TABLES)
def test_model2vec_and_the_stock_class_load_the_model2vec_layout(
    kind: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    table = TABLES[kind](tokenizer)
    model2vec.write(table, tmp_path / "model", card=CARD)
    texts = [*TEXTS, TEXTS[-1] * 15]  # more than the 512 tokens that model2vec cuts at if it is not told otherwise
    theirs = StaticModel.from_pretrained(tmp_path / "model")
    assert theirs.normalize == table.normalize
    assert theirs.embedding.dtype == table.weight.dtype
    expected = embed(table, texts)
    np.testing.assert_allclose(theirs.encode(texts), expected, atol=tolerance(table))
    np.testing.assert_allclose(
        SentenceTransformer(str(tmp_path / "model"), device="cpu").encode(texts, prompt=""),
        expected,
        atol=tolerance(table),
    )


def test_wordllama_loads_its_layout_by_the_lines_in_the_readme(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tables = {kind: TABLES[kind](tokenizer) for kind in FLOAT_TABLES}
    usages = {}
    for kind, table in tables.items():
        directory = tmp_path / kind
        wordllama.write(table, directory, card=CARD)
        readme = (directory / "README.md").read_text()
        assert readme.startswith(CARD)
        (lines,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
        usages[str(directory)] = lines
    # In a process of its own: the package sets up logging for the whole process when it is imported.
    texts = TEXTS[1:]  # it divides by zero to normalise a text without tokens
    job = json.dumps({"usages": usages, "texts": texts})
    run = subprocess.run(
        [sys.executable, "-c", _WORDLLAMA], input=job, capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert run.returncode == 0, run.stderr
    for kind, table in tables.items():
        vectors = np.load(tmp_path / f"{kind}.npy")
        np.testing.assert_allclose(vectors, embed(table, texts), atol=tolerance(table), err_msg=kind)


# Here again


@pytest.mark.parametrize("kind", FLOAT_TABLES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_round_trip(layout: str, kind: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    table = TABLES[kind](tokenizer)
    LAYOUTS[layout](table, tmp_path / "model", card=CARD)
    loaded = read_static_model(tmp_path / "model")
    np.testing.assert_array_equal(loaded.expanded(), table.expanded())
    if layout == "wordllama":  # which has no place for the rest
        return
    assert loaded.normalize == table.normalize
    assert loaded.prompts == table.prompts
    assert loaded.default_prompt_name == table.default_prompt_name
    assert loaded.similarity_fn_name == table.similarity_fn_name
    assert (tmp_path / "model" / "README.md").read_text() == CARD


@pytest.mark.parametrize("kind", ["shared rows", "shared rows, no scales", "shared rows, int8", "int8"])
def test_model2vec_keeps_mapping_scales_and_dtype(kind: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    table = TABLES[kind](tokenizer)
    model2vec.write(table, tmp_path / "model", card=CARD)
    loaded = read_static_model(tmp_path / "model")
    assert loaded.weight.dtype == table.weight.dtype
    np.testing.assert_array_equal(loaded.weight, table.weight)
    np.testing.assert_array_equal(loaded.mapping, table.mapping)
    np.testing.assert_array_equal(loaded.scales, table.scales)


@pytest.mark.parametrize("layout", ["sentence_transformers", "wordllama"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_dtype_is_kept(dtype: str, layout: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    LAYOUTS[layout](TABLES[dtype](tokenizer), tmp_path / "model", card=CARD)
    assert read_static_model(tmp_path / "model").weight.dtype == dtype


def test_int8_without_scales_loads_everywhere(table: StaticTable, tmp_path: Path) -> None:
    table = replace(table, weight=(table.weight * 40).clip(-127, 127).astype(np.int8))
    model2vec.write(table, tmp_path / "model", card=CARD)
    expected = embed(table, TEXTS)
    np.testing.assert_allclose(stock(tmp_path / "model"), expected, atol=1e-4)
    np.testing.assert_allclose(StaticModel.from_pretrained(tmp_path / "model").encode(TEXTS), expected, atol=1e-4)
    np.testing.assert_allclose(embed(read_static_model(tmp_path / "model"), TEXTS), expected, atol=1e-6)


def test_prompts_that_are_replaced_are_written(tokenizer: Tokenizer, tmp_path: Path) -> None:
    table = replace(TABLES["prompts"](tokenizer), prompts={"a": "b"}, default_prompt_name=None)
    for write in (sentence_transformers.write, model2vec.write):
        directory = tmp_path / write.__module__
        write(table, directory, card=CARD)
        loaded = read_static_model(directory)
        assert (loaded.prompts, loaded.default_prompt_name, loaded.similarity_fn_name) == ({"a": "b"}, None, "dot")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_tokenizer_on_disk_adds_cuts_and_pads_nothing(
    layout: str, cutting_tokenizer: Tokenizer, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    LAYOUTS[layout](random_table(cutting_tokenizer), tmp_path / "model", card=CARD)
    (path,) = (tmp_path / "model").rglob("tokenizer.json")
    written = Tokenizer.from_file(str(path))
    for text in TEXTS:
        assert written.encode(text).ids == tokenizer.encode(text, add_special_tokens=False).ids


# Whole, or not at all


@pytest.mark.parametrize("layout", ["sentence_transformers", "wordllama"])
def test_int8_is_refused_where_there_is_no_place_for_its_scales(
    layout: str, table: StaticTable, tmp_path: Path
) -> None:
    with pytest.raises(ArgumentError, match="model2vec layout"):
        LAYOUTS[layout](table.quantized(), tmp_path / "model", card=CARD)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_there_is_refused_and_stays(layout: str, table: StaticTable, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError):
            LAYOUTS[layout](table, tmp_path, card=CARD, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_model_is_replaced_on_purpose_only(layout: str, table: StaticTable, tmp_path: Path) -> None:
    directory = tmp_path / "model"
    LAYOUTS[layout](table, directory, card=CARD)
    with pytest.raises(OutputExistsError):
        LAYOUTS[layout](table.truncated(2), directory, card=CARD)
    assert read_static_model(directory).dim == table.dim
    LAYOUTS[layout](table.truncated(2), directory, card=CARD, overwrite=True)
    assert read_static_model(directory).dim == 2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_failure_leaves_nothing(
    layout: str, table: StaticTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError("disk full")

    for module in (sentence_transformers, wordllama):
        monkeypatch.setattr(module, "write_tokenizer", fail)
    with pytest.raises(OSError, match="disk full"):
        LAYOUTS[layout](table, tmp_path / "model", card=CARD)
    assert list(tmp_path.iterdir()) == []
