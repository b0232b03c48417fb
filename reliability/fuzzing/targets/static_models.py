"""Static models: safetensors files, tokenizers, and the directories of all layouts."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import safetensors.numpy
from target import Target
from tokenizers import Tokenizer

sys.path.append(str(Path(__file__).parents[3] / "tests"))

from tokenizer_kinds import KINDS

from wordllama_st import StaticEncoder
from wordllama_st.errors import CodebookError, ModelLoadError
from wordllama_st.static.formats import model2vec, sentence_transformers, wordllama
from wordllama_st.static.formats.files import TensorFile
from wordllama_st.static.space import VectorSpace
from wordllama_st.static.table import StaticTable
from wordllama_st.static.word_cache.plain import PlainTokenizer
from wordllama_st.storage.safetensors_file import map_tensor, read_header
from wordllama_st.storage.tokenizer import num_token_ids, text_tokenizer

TEXT = "Straße, e\u0301t\u00e9  \ufb01ne \uff21\u2163 日本語 한국어 हिन्दी 🦙👩\u200d👧\n\t 12 the quick fox </s> ▁x"
TEXTS = [TEXT, "", " ", "the the", "  indented\n\nline ", TEXT * 3, "a" * 40 + "!", "1,234 times", "don't"]
#: Small enough to be written many times a second; Llama 2's are megabytes.
SMALL = [name for name in KINDS if not name.startswith(("llama2", "gemma"))]
#: Rows that any tokenizer here has enough of.
ROWS = 1000


def write_safetensors(folder: Path) -> None:
    """A token table, and tensors of several dtypes and ranks."""
    rng = np.random.default_rng(0)
    safetensors.numpy.save_file(
        {"embedding.weight": rng.standard_normal((64, 8), np.float32)}, folder / "table.safetensors"
    )
    dtypes = ("float64", "float32", "float16", "int64", "int32", "int8", "uint64", "uint8", "bool")
    tensors = {dtype: np.ones((3, 4), dtype) for dtype in dtypes}
    tensors |= {"scalar": np.float32(1)[None].reshape(()), "cube": np.ones((2, 3, 4), np.float16)}
    safetensors.numpy.save_file(tensors, folder / "tensors.safetensors", metadata={"format": "pt"})


def read_safetensors(folder: Path, name: str) -> None:
    """Map every tensor; none is larger than the file."""
    path = folder / name
    for key in read_header(path):
        for read in (lambda key: TensorFile(path).read(key), lambda key: map_tensor(path, key)[0]):
            try:
                tensor = read(key)
            except (CodebookError, ModelLoadError):
                continue
            assert tensor.nbytes <= 2 * path.stat().st_size
            tensor.sum(dtype=np.float64)


def write_tokenizers(folder: Path) -> None:
    """Tokenizers of every small kind, beside a table that has rows enough."""
    table = np.random.default_rng(0).standard_normal((ROWS, 4), np.float32)
    safetensors.numpy.save_file({"embedding.weight": table}, folder / "table.safetensors")
    for number, kind in enumerate(SMALL):
        KINDS[kind]().save(str(folder / f"{number}.json"), pretty=False)


def read_tokenizer(folder: Path, name: str) -> None:
    """Encode texts with a tokenizer: by itself, by the look-up of words, and without its special tokens."""
    encoder = StaticEncoder.from_pretrained(folder / "table.safetensors", tokenizer=folder / name)
    vectors = encoder.encode(TEXTS)
    assert np.isfinite(vectors).all()
    plain = [encoder.tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    assert [encoder.tokenize(text) for text in TEXTS] == plain
    if (words := encoder._tokens.words) is not None:
        assert [words.ids(text) for text in TEXTS] == plain
        assert words.bags(TEXTS).ids.tolist() == list(chain.from_iterable(plain))
    PlainTokenizer(text_tokenizer(encoder.tokenizer)).ids(TEXT)


def write_static_models(folder: Path) -> None:
    """A model in each layout, one with prompts and the space of an index, and the query side of a Router."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Router, StaticEmbedding

    tokenizer = KINDS["bert"]()
    weight = np.random.default_rng(0).standard_normal((num_token_ids(tokenizer), 4), np.float32)
    space = VectorSpace(6, -1.0, "an embedder", np.eye(6, 4, dtype=np.float32))
    plain = StaticTable(weight, tokenizer)
    table = StaticTable(
        weight,
        tokenizer,
        normalize=True,
        prompts={"query": "find: ", "document": ""},
        default_prompt_name="query",
        space=space,
    )
    sentence_transformers.write(table, folder / "st", card="")
    mapping = np.arange(len(weight)) % 20
    model2vec.write(replace(plain, weight=weight[:20], mapping=mapping).quantized(), folder / "m2v", card="")
    (folder / "m2v" / "modules.json").unlink()
    wordllama.write(plain, folder / "wl", card="")
    sides = [StaticEmbedding(Tokenizer.from_str(tokenizer.to_str()), embedding_weights=weight) for _ in range(2)]
    router = Router.for_query_document(query_modules=[sides[0], Normalize()], document_modules=[sides[1]])
    SentenceTransformer(modules=[router], device="cpu").save_pretrained(str(folder / "router"))


def read_static_model(folder: Path, name: str) -> None:
    """Load the directory that has the file, and encode texts."""
    encoder = StaticEncoder.from_pretrained(folder / Path(name).parts[0])
    encoder.encode(TEXTS[:4])


STATIC = (
    "st/0_StaticEmbedding/model.safetensors",
    "st/vector_space.safetensors",
    "m2v/model.safetensors",
    "wl/weights/custom_4.safetensors",
)
SETTINGS = (
    "st/modules.json", "st/config_sentence_transformers.json", "st/vector_space.json", "router/modules.json",
    "router/router_config.json", "router/config_sentence_transformers.json", "m2v/config.json",
)  # fmt: skip

TARGETS = [
    Target("safetensors", write_safetensors, ("table.safetensors", "tensors.safetensors"), read_safetensors),
    Target("tokenizer", write_tokenizers, [f"{number}.json" for number in range(len(SMALL))], read_tokenizer),
    Target("static-model", write_static_models, SETTINGS, read_static_model),
    Target("static-table", write_static_models, STATIC, read_static_model),
]
