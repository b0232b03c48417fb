"""What is checked in each environment of matrix.py, by the interpreter of that environment.

    python checks.py CHECK REFERENCE

REFERENCE is a directory that ``write_reference`` filled with the newest versions. A check raises an error, or returns
the largest difference between vectors that should be equal. What it writes goes into the current directory.
"""

from __future__ import annotations

import asyncio
import csv
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

TEXTS = ["The weather is lovely today.", "", "多言語 текст\n\tdef f(x): ...", "long " * 2000]
#: The largest difference of two numbers in vectors that should be equal.
TOLERANCE = 1e-6
#: In float16, the unit in the last place of a number below 1.
TOLERANCE_FLOAT16 = 2**-11
#: What is loaded everywhere: means, means of unit length, a table of float16, and one that is two factors.
MODELS = ("mean", "unit", "half", "factors")
DIM = 64
ANIMALS = ("badger", "camel", "dolphin", "falcon", "gecko", "hamster", "llama", "otter", "pelican", "tortoise")
PLACES = ("bridge", "canal", "desert", "forest", "harbour", "island", "library", "market", "orchard", "station")
PAIRS = [
    (f"What does the {animal} at the {place} do?", f"Near the {place}, a {animal} sleeps.")
    for animal, place in product(ANIMALS, PLACES)
]
SHOWN = (
    "sentence-transformers",
    "torch",
    "transformers",
    "datasets",
    "accelerate",
    "langchain-core",
    "llama-index-core",
    "pydantic",
    "numpy",
    "scipy",
    "tokenizers",
    "huggingface-hub",
    "pyarrow",
    "fsspec",
    "filelock",
)


def largest_difference(vectors: Any, expected: Any, tolerance: float = TOLERANCE) -> float:
    """Return the largest difference of two arrays; ValueError if it is too large, or their shapes differ."""
    vectors, expected = np.asarray(vectors, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if vectors.shape != expected.shape:
        raise ValueError(f"The vectors are {vectors.shape}, not {expected.shape}.")
    difference = float(np.abs(vectors - expected).max())
    if not difference <= tolerance:
        raise ValueError(f"The vectors differ by {difference:.1e}.")
    return difference


def write_reference(reference: Path) -> float:
    """Bake models, and save their embeddings by the stock class as stock/MODEL.npy, by ours as encoder/MODEL.npy.

    The two add numbers up in another order: the long text's embeddings differ by 4e-5.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize

    from wordllama_st import Codebook, StaticEncoder, bake, build_model
    from wordllama_st.static.released import DEFAULT_MODEL

    modules = [*build_model(Codebook.from_pretrained(DEFAULT_MODEL))]
    for name, behind, dtype in (("mean", [], "float32"), ("unit", [Normalize()], "float32"), ("half", [], "float16")):
        bake(SentenceTransformer(modules=[*modules, *behind]), reference / name, dtype=dtype)
    table = StaticEncoder.from_pretrained(DEFAULT_MODEL).table.plain()
    projection = np.random.default_rng(0).normal(size=(table.dim, 1024), scale=1 / 32).astype(np.float32)
    StaticEncoder(replace(table, projection=projection, normalize=True)).save_pretrained(reference / "factors")
    for name in MODELS:
        for folder, model in (
            ("stock", SentenceTransformer(str(reference / name))),
            ("encoder", StaticEncoder.from_pretrained(reference / name)),
        ):
            (reference / folder).mkdir(exist_ok=True)
            np.save(reference / folder / f"{name}.npy", model.encode(TEXTS))
    return 0.0


def load_baked(reference: Path) -> float:
    """Load baked models into the stock class, with nothing of this repository installed."""
    from sentence_transformers import SentenceTransformer

    if find_spec("wordllama_st"):
        raise ValueError("wordllama-st is installed.")
    differences = []
    for path in sorted(reference.glob("stock/*.npy")):
        vectors, expected = SentenceTransformer(str(reference / path.stem)).encode(TEXTS), np.load(path)
        if vectors.dtype != expected.dtype:
            raise ValueError(f"The vectors of {path.stem} are {vectors.dtype}, not {expected.dtype}.")
        tolerance = TOLERANCE_FLOAT16 if expected.dtype == np.float16 else TOLERANCE
        differences.append(largest_difference(vectors, expected, tolerance))
    return max(differences)


def encode(reference: Path) -> float:
    """Encode texts and a collection by the base install with the extra ``data``, which has no torch."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from wordllama_st import StaticEncoder, encode_dataset

    if find_spec("torch"):
        raise ValueError("torch is installed.")
    pq.write_table(pa.table({"text": TEXTS}), "texts.parquet")
    differences = []
    for name in MODELS:
        expected = np.load(reference / "encoder" / f"{name}.npy")
        encoder = StaticEncoder.from_pretrained(reference / name)
        differences.append(largest_difference(encoder.encode(TEXTS), expected))
        encode_dataset(encoder, Path("texts.parquet").absolute().as_uri(), name)
        collection = pq.read_table(f"{name}/part-00000.parquet").column("embedding").to_pylist()
        differences.append(largest_difference(collection, expected))
    return max(differences)


def encode_uncompiled(reference: Path) -> float:
    """The same where the extension could not be compiled."""
    sys.modules["wordllama_st.static._kernel"] = None  # type: ignore[assignment]
    return encode(reference)


def train(reference: Path) -> float:
    """Train, resume, save, load, bake and distill a model of our modules."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer

    from wordllama_st import StaticEncoder, bake, distill, model_from_pretrained, train
    from wordllama_st.static.released import DEFAULT_MODEL

    texts = [text for pair in PAIRS for text in pair]
    rows = Dataset.from_dict(dict(zip(("question", "answer"), map(list, zip(*PAIRS, strict=True)), strict=True)))
    settings: dict[str, Any] = {"dim": DIM, "epochs": 1, "batch_size": 16, "checkpoint_dir": "checkpoints"}
    result = train(DEFAULT_MODEL, rows, "trained", **settings)
    if not all(score.after >= score.before for score in result.report.scores):
        raise ValueError(f"Training made the model worse: {result.report}")
    trained = result.model.encode(texts)
    resumed = train(DEFAULT_MODEL, rows, "resumed", **settings).model.encode(texts)
    differences = [largest_difference(resumed, trained)]
    differences.append(largest_difference(model_from_pretrained("trained").encode(texts), trained))
    baked = bake(result.model, "baked").encode(texts)
    differences.append(largest_difference(baked, trained, tolerance=1e-5 * float(np.abs(trained).max())))
    student = distill(DEFAULT_MODEL, texts, "distilled", teacher="baked", dim=DIM, epochs=1)
    if not student.report.score.after >= 0.9:
        raise ValueError(f"The student is far from its teacher: {student.report.score}")
    for path, expected in (("baked", baked), ("distilled", student.model.encode(texts))):
        differences.append(largest_difference(SentenceTransformer(path).encode(texts), expected))
        differences.append(largest_difference(StaticEncoder.from_pretrained(path).encode(texts), expected))
    return max(differences)


def langchain(reference: Path) -> float:
    """Embed with the LangChain adapter and its copies, and search the vector store of the core package."""
    from langchain_core.vectorstores import InMemoryVectorStore
    from langchain_wordllama import WordLlamaEmbeddings

    embeddings = WordLlamaEmbeddings(model=str(reference / "unit"))
    expected = np.load(reference / "encoder" / "unit.npy")
    copies = (embeddings, pickle.loads(pickle.dumps(embeddings)), WordLlamaEmbeddings(**embeddings.model_dump()))
    differences = [largest_difference(each.embed_documents(TEXTS), expected) for each in copies]
    differences.append(largest_difference(asyncio.run(embeddings.aembed_query(TEXTS[0])), expected[0]))
    for question, answer in PAIRS[:3]:
        store = InMemoryVectorStore.from_texts([text for _, text in PAIRS], embeddings)
        (found,) = store.similarity_search(question, k=1)
        if found.page_content != answer:
            raise ValueError(f"{question} found {found.page_content}")
    return max(differences)


def llama_index(reference: Path) -> float:
    """Embed with the LlamaIndex adapter and its copies, and search the vector store of the core package."""
    from llama_index.core import VectorStoreIndex
    from llama_index.core.schema import TextNode
    from llama_index.embeddings.wordllama import WordLlamaEmbedding

    embedding = WordLlamaEmbedding(reference / "unit")
    expected = np.load(reference / "encoder" / "unit.npy")
    copies = [embedding, pickle.loads(pickle.dumps(embedding)), WordLlamaEmbedding.from_dict(embedding.to_dict())]
    differences = [largest_difference(each.get_text_embedding_batch(TEXTS), expected) for each in copies]
    differences.append(largest_difference(asyncio.run(embedding.aget_query_embedding(TEXTS[0])), expected[0]))
    index = VectorStoreIndex([TextNode(text=text) for _, text in PAIRS], embed_model=embedding)
    for question, answer in PAIRS[:3]:
        (found,) = index.as_retriever(similarity_top_k=1).retrieve(question)
        if found.text != answer:
            raise ValueError(f"{question} found {found.text}")
    return max(differences)


def command_line(reference: Path) -> float:
    """Go from a codebook to a scored model by the commands."""
    from sentence_transformers import SentenceTransformer

    def run(*arguments: str) -> None:
        subprocess.run([str(Path(sys.executable).with_name("wordllama-st")), *arguments], check=True)

    texts = [text for pair in PAIRS for text in pair]
    Path("texts.txt").write_text("\n".join(texts))
    with open("pairs.csv", "w", newline="") as file:
        csv.writer(file).writerows([("question", "answer"), *PAIRS])
    training = ("--dim", str(DIM), "--epochs", "1")
    run("extract", "wordllama-l2-supercat-256", "--out", "codebook")
    run("train", "codebook", "pairs.csv", "--out", "trained", *training)
    run("bake", "trained", "--out", "baked")
    run("distill", "codebook", "texts.txt", "--teacher", "baked", "--out", "distilled", *training)
    run("encode", "baked", "texts.txt", "--out", "vectors.npy")
    run("evaluate", "baked", "distilled", "--retrieval", "pairs.csv", "--bm25", "--plot", "scores.svg")
    return largest_difference(np.load("vectors.npy"), SentenceTransformer("baked").encode(texts))


def convert_tokenizers(reference: Path) -> float:
    """Run the tests of tokenizers that are converted from SentencePiece, tiktoken and GGUF files."""
    tests = Path(__file__).parent.parent / "tests" / "codebook"
    files = [str(tests / name) for name in ("test_conversion.py", "test_gguf.py")]
    subprocess.run([str(Path(sys.executable).with_name("pytest")), "-p", "no:cacheprovider", *files], check=True)
    return 0.0


def installed() -> dict[str, str]:
    """Return the versions of the packages that the table shows, of those that are installed."""
    versions = {}
    for name in SHOWN:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def main() -> None:
    """Run a check; the last line of the output is its result as JSON."""
    check, reference = sys.argv[1:]
    difference = globals()[check](Path(reference))
    print(json.dumps({"versions": installed(), "difference": difference}))


if __name__ == "__main__":
    main()
