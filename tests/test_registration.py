"""The released names: what ``SentenceTransformer("wordllama-...")`` gives, where it comes from, and that the class is
otherwise the library's own.

Protects: the vectors are those of the ``wordllama`` package; the embedded models open no connection; the others come
from the Hub once and from its cache ever after; a pin is honoured and recorded; errors say what is missing and what
can be had; ``unregister`` leaves no trace.

huggingface_hub reads its environment when it is imported, so whatever concerns the network runs in a subprocess,
against the Hub of hub_server.py. Starting one takes seconds: each of the three loads many models, and the tests look
at what came of them.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hub_server import BRANCH, COMMIT, TAG, HubServer
from safetensors.numpy import save
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

import wordllama_st
from wordllama_st.errors import ModelUnavailableError, UnknownModelError
from wordllama_st.static import released

L2, L3 = "dleemiller/word-llama-l2-supercat", "dleemiller/wordllama-l3-supercat"
L3_TOKENIZER = "l3_supercat_tokenizer_config.json"
EMBEDDED = ("wordllama-l2-supercat-256", "wordllama-l2-supercat-128", "wordllama-l2-supercat-64")
TEXTS = [
    "",
    "The weather is lovely today.",
    " spaces  before, between and behind ",
    "Zażółć gęślą jaźń, 東京の天気 🦙 \u200b\u0301 naïve\tline\nbreak",
    "a longer text about llamas and their words. " * 200,
]


@dataclass(frozen=True)
class Load:
    """A call of ``SentenceTransformer(name, **options)``, and the file that the Hub should then be asked for."""

    name: str
    filename: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def dim(self) -> int:
        """The length of the model's vectors, read off its name."""
        return next((int(part) for part in self.name.split("-") if part.isdigit()), 256)

    @property
    def on_hub(self) -> tuple[str, str]:
        """The repository and the file in it."""
        return (L2 if self.filename.startswith("l2") else L3), self.filename


#: What the subprocess with a Hub loads, in this order.
HUB_LOADS = {
    "512": Load("wordllama-l2-supercat-512", "l2_supercat_512.safetensors"),
    "512 again": Load("wordllama-l2-supercat-512", "l2_supercat_512.safetensors"),
    "512 at a tag": Load("wordllama-l2-supercat-512", "l2_supercat_512.safetensors", {"revision": TAG}),
    "512 at a commit": Load("wordllama-l2-supercat-512", "l2_supercat_512.safetensors", {"revision": COMMIT}),
    "1024": Load("wordllama-l2-supercat-1024", "l2_supercat_1024.safetensors"),
    "64 binary": Load("wordllama-l2-supercat-64-binary", "l2_supercat_64_binary.safetensors"),
    "embedded, pinned": Load("wordllama-l2-supercat-64", "l2_supercat_64.safetensors", {"revision": BRANCH}),
    "l3 alias": Load("wordllama-l3-supercat", "l3_supercat_256.safetensors"),
    "l3 64 binary": Load("wordllama-l3-supercat-64-binary", "l3_supercat_64_binary.safetensors"),
    "l3 1024": Load("wordllama-l3-supercat-1024", "l3_supercat_1024.safetensors", {"token": "hf_token"}),
}
#: What is then loaded again without one.
CACHED = ("512", "512 at a tag", "512 at a commit", "64 binary", "embedded, pinned", "l3 alias", "l3 64 binary")
#: What the Hub has not. It says so by itself.
HUB_LACKS = {
    "no such file": Load("wordllama-l3-supercat-128", "l3_supercat_128.safetensors"),
    "no such revision": Load("wordllama-l2-supercat-512", "l2_supercat_512.safetensors", {"revision": "v9"}),
}
#: What it is told to refuse, and the status and error code of its answer.
HUB_REFUSES: dict[str, tuple[Load, int, str | None]] = {
    "no such repository": (Load("wordllama-l3-supercat-512", "l3_supercat_512.safetensors"), 404, "RepoNotFound"),
    "unauthorized": (Load("wordllama-l2-supercat-256-binary", "l2_supercat_256_binary.safetensors"), 401, None),
    "forbidden": (Load("wordllama-l2-supercat-128-binary", "l2_supercat_128_binary.safetensors"), 403, None),
    "gated": (Load("wordllama-l2-supercat-512-binary", "l2_supercat_512_binary.safetensors"), 403, "GatedRepo"),
}
#: What it sends and is no model.
HUB_SENDS: dict[str, tuple[Load, bytes]] = {
    "a file cut short": (
        Load("wordllama-l2-supercat-1024-binary", "l2_supercat_1024_binary.safetensors"),
        save({"embedding.weight": np.ones((32000, 2), np.float16)})[:-1],
    ),
    "another tensor": (
        Load("wordllama-l3-supercat-256-binary", "l3_supercat_256_binary.safetensors"),
        save({"another.weight": np.ones((300, 256), np.float16)}),
    ),
}
#: What cannot be had, and the status that the message should give.
UNAVAILABLE = {label: (load, 404) for label, load in HUB_LACKS.items()} | {
    label: (load, status) for label, (load, status, _) in HUB_REFUSES.items()
}


@dataclass(frozen=True)
class Outcome:
    """What came of a :class:`Load` in a subprocess."""

    vectors: npt.NDArray[np.float32] | None = None
    base_model: str | None = None
    revision: str | None = None
    error: str | None = None
    message: str = ""


@dataclass(frozen=True)
class Run:
    """What came of a subprocess: the loads, and the addresses it connected to."""

    outcomes: dict[str, Outcome]
    connections: list[str]


_SETTING = re.compile(r"HF_.*|HUGGING_?FACE.*|SENTENCE_TRANSFORMERS_.*|.*_proxy", re.IGNORECASE)

_LOADER = """
import json, sys
import numpy as np

connections = []
sys.addaudithook(lambda event, args: connections.append(str(args[1])) if event == "socket.connect" else None)
import wordllama_st
from sentence_transformers import SentenceTransformer

job = json.load(sys.stdin)
wordllama_st.register()
outcomes, vectors = {}, {}
for label, load in job["loads"].items():
    try:
        model = SentenceTransformer(load["name"], **load["options"])
    except Exception as error:
        outcomes[label] = {"error": type(error).__name__, "message": str(error)}
        continue
    card = model.model_card_data
    outcomes[label] = {"base_model": card.base_model, "revision": card.base_model_revision}
    vectors[label] = model.encode(job["texts"])
np.savez(job["output"], **vectors)
print(json.dumps({"outcomes": outcomes, "connections": connections}))
"""

_WORDLLAMA = """
import json, sys
import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from wordllama import WordLlama, WordLlamaInference
from wordllama.config import WordLlamaModels

job = json.load(sys.stdin)
np.savez(job["output"], **{
    label: WordLlamaInference(
        load_file(weights)["embedding.weight"][:, :dim], Tokenizer.from_file(tokenizer)
    ).embed(job["texts"])
    for label, (weights, tokenizer, dim) in job["tables"].items()
})
released = []
for config in WordLlamaModels.list_configs():
    uri = getattr(WordLlamaModels, config)
    for binary, dims in ((False, uri.available_dims), (True, uri.binary_dims)):
        released += [
            [uri.repo_id, WordLlama.get_filename(config, dim, binary), uri.tokenizer_config] for dim in dims
        ]
print(json.dumps(released))
"""


def run_python(script: str, job: dict[str, Any], environment: dict[str, str] | None = None) -> Any:
    """Run a script that reads ``job`` from its standard input, and read the JSON on its last line of output.

    Settings of the Hub client and the library that this process inherited are kept from it, and so are proxies.
    """
    inherited = {key: value for key, value in os.environ.items() if not _SETTING.fullmatch(key)}
    run = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(job),
        env=inherited | (environment or {}),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def run_loads(loads: dict[str, Load], output: Path, environment: dict[str, str]) -> Run:
    """Load models in a subprocess, which writes the vectors of the texts to ``output``."""
    job = {
        "loads": {label: {"name": load.name, "options": load.options} for label, load in loads.items()},
        "texts": TEXTS,
        "output": str(output),
    }
    result = run_python(_LOADER, job, environment)
    vectors = dict(np.load(output))
    return Run(
        {label: Outcome(vectors.get(label), **outcome) for label, outcome in result["outcomes"].items()},
        result["connections"],
    )


def hub_table(rows: int, dim: int, seed: int) -> bytes:
    """A weights file as the Hub has them. Random numbers are repeated, at a prime distance: making all takes long."""
    values = np.random.default_rng(seed).standard_normal(100_003, dtype=np.float32).astype(np.float16)
    return save({"embedding.weight": np.resize(values, (rows, dim))})


def l3_tokenizer() -> Tokenizer:
    """A small stand-in for the l3 tokenizer, with a special token that must not get into a text's vector."""
    words = ["<s>", "[UNK]", "The", "weather", "is", "lovely", "a", "text", "about", "llamas", "and", "words", "."]
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.enable_truncation(8)
    return tokenizer


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    files = {
        load.on_hub: hub_table(32000 if load.on_hub[0] == L2 else 300, load.dim, seed)
        for seed, load in enumerate(HUB_LOADS.values())
    }
    files |= {load.on_hub: content for load, content in HUB_SENDS.values()}
    files[L3, L3_TOKENIZER] = l3_tokenizer().to_str().encode()
    with HubServer(files) as server:
        server.refusals = {load.on_hub: (status, code) for load, status, code in HUB_REFUSES.values()}
        yield server


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """For files too large to be kept for the next three runs, as pytest does with its own."""
    path = tmp_path_factory.mktemp("names")
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def home(directory: Path) -> Path:
    """The Hub client's home, shared by the subprocess that has a Hub and the one that has not."""
    return directory / "home"


@pytest.fixture(scope="module")
def online(hub: HubServer, home: Path, directory: Path) -> Run:
    """All that a subprocess with a Hub and an empty cache got."""
    loads = HUB_LOADS | HUB_LACKS | {label: row[0] for label, row in (HUB_REFUSES | HUB_SENDS).items()}
    loads["embedded alias"] = Load("wordllama-l2-supercat")
    return run_loads(loads, directory / "online.npz", {"HF_ENDPOINT": hub.url, "HF_HOME": str(home)})


@pytest.fixture(scope="module")
def offline(online: Run, home: Path, directory: Path) -> Run:
    """All that a subprocess got which is told to stay offline, and has the cache that the online one filled."""
    loads = {label: HUB_LOADS[label] for label in CACHED} | {name: Load(name) for name in EMBEDDED}
    loads["uncached"] = Load("wordllama-l2-supercat-512-binary")
    return run_loads(loads, directory / "offline.npz", {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home)})


@pytest.fixture(scope="module")
def unconnected(directory: Path) -> Run:
    """The embedded models, in a subprocess that is told nothing and whose Hub nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    environment = {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HOME": str(directory / "no home")}
    return run_loads({name: Load(name) for name in EMBEDDED}, directory / "unconnected.npz", environment)


@dataclass(frozen=True)
class WordLlamaSays:
    """What the ``wordllama`` package itself has.

    Attributes:
        vectors: Of the texts, by each table.
        released: Its models, as [repository, weights file, tokenizer file].
    """

    vectors: dict[str, npt.NDArray[np.float32]]
    released: list[list[str]]


@pytest.fixture(scope="module")
def wordllama_says(hub: HubServer, directory: Path) -> WordLlamaSays:
    """Asked in a process of its own: the package sets up logging for the whole process when it is imported."""
    for (_, filename), content in hub.files.items():
        (directory / filename).write_bytes(content)
    wheel = released.fetch(EMBEDDED[0])
    tables = {name: (str(wheel.weights), str(wheel.tokenizer), Load(name).dim) for name in EMBEDDED}
    for label, load in HUB_LOADS.items():
        tokenizer = wheel.tokenizer if load.on_hub[0] == L2 else directory / L3_TOKENIZER
        tables[label] = (str(directory / load.filename), str(tokenizer), load.dim)
    output = directory / "wordllama.npz"
    names = run_python(_WORDLLAMA, {"tables": tables, "texts": TEXTS, "output": str(output)})
    return WordLlamaSays(dict(np.load(output)), names)


@pytest.fixture
def registered() -> Iterator[None]:
    wordllama_st.register()
    yield
    wordllama_st.unregister()


@pytest.fixture
def local_model(tmp_path: Path) -> Path:
    """A static model of another kind, in a directory."""
    path = tmp_path / "local"
    embedding = StaticEmbedding(l3_tokenizer(), embedding_weights=np.eye(20, 6, dtype=np.float32))
    SentenceTransformer(modules=[embedding, Normalize()], device="cpu").save(str(path))
    return path


# The embedded models


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_embedded_models_give_wordllamas_own_vectors_without_a_connection(
    name: str, unconnected: Run, offline: Run, wordllama_says: WordLlamaSays
) -> None:
    for run in (unconnected, offline):
        assert run.connections == []
        outcome = run.outcomes[name]
        assert outcome.vectors is not None, outcome.message
        assert outcome.vectors.dtype == np.float32
        assert outcome.vectors.shape == (len(TEXTS), Load(name).dim)
        np.testing.assert_allclose(outcome.vectors, wordllama_says.vectors[name], rtol=0, atol=1e-6)
        assert outcome.base_model == L2
        assert outcome.revision == f"wordllama=={version('wordllama')}"


def test_an_empty_text_is_the_zero_vector(unconnected: Run) -> None:
    vectors = unconnected.outcomes[EMBEDDED[0]].vectors
    assert vectors is not None
    assert not vectors[TEXTS.index("")].any()


def test_a_familys_name_alone_is_its_256_dim_model(online: Run, wordllama_says: WordLlamaSays) -> None:
    outcome = online.outcomes["embedded alias"]
    np.testing.assert_allclose(outcome.vectors, wordllama_says.vectors[EMBEDDED[0]], rtol=0, atol=1e-6)
    assert outcome.revision == f"wordllama=={version('wordllama')}"


def test_every_released_name_is_a_file_that_wordllama_knows(wordllama_says: WordLlamaSays) -> None:
    ours = [[model.repo_id, model.weights_file, model.tokenizer_file] for model in released.RELEASED.values()]
    assert sorted(ours) == sorted(wordllama_says.released)
    assert all(released.released_model(name).name == name for name in released.RELEASED)


# The models on the Hub


@pytest.mark.parametrize("label", HUB_LOADS)
def test_a_model_from_the_hub_gives_wordllamas_own_vectors(
    label: str, online: Run, wordllama_says: WordLlamaSays
) -> None:
    outcome = online.outcomes[label]
    assert outcome.vectors is not None, outcome.message
    np.testing.assert_allclose(outcome.vectors, wordllama_says.vectors[label], rtol=0, atol=1e-6)


@pytest.mark.parametrize("label", HUB_LOADS)
def test_the_model_card_names_the_repository_and_the_commit(label: str, online: Run) -> None:
    assert online.outcomes[label].base_model == HUB_LOADS[label].on_hub[0]
    assert online.outcomes[label].revision == COMMIT


@pytest.mark.parametrize("filename", sorted({load.filename for load in HUB_LOADS.values()} | {L3_TOKENIZER}))
def test_a_file_is_downloaded_once_however_often_and_at_whatever_revision(
    filename: str, online: Run, hub: HubServer
) -> None:
    assert hub.downloads(filename) == 1


def test_a_token_reaches_the_hub_and_only_where_it_was_given(online: Run, hub: HubServer) -> None:
    with_token = {request.filename for request in hub.requests if request.token}
    assert with_token == {"l3_supercat_1024.safetensors", L3_TOKENIZER}
    assert {request.token for request in hub.requests} == {None, "hf_token"}


@pytest.mark.parametrize("label", CACHED)
def test_a_model_that_was_downloaded_loads_offline(label: str, online: Run, offline: Run) -> None:
    np.testing.assert_array_equal(offline.outcomes[label].vectors, online.outcomes[label].vectors)
    assert offline.outcomes[label].revision == COMMIT


@pytest.mark.parametrize("given", ["cache_folder", "SENTENCE_TRANSFORMERS_HOME"])
def test_the_librarys_two_ways_to_name_a_cache_are_obeyed(
    given: str, online: Run, home: Path, registered: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"local_files_only": True, "device": "cpu"}
    if given == "cache_folder":
        options["cache_folder"] = str(home / "hub")
    else:
        monkeypatch.setenv(given, str(home / "hub"))
    model = SentenceTransformer("wordllama-l2-supercat-512", **options)
    np.testing.assert_array_equal(model.encode(TEXTS), online.outcomes["512"].vectors)


# Names that cannot be had


@pytest.mark.parametrize(
    "name", ["wordllama-l2-supercat-255", "wordllama-l4-supercat-256", "wordllama-", "wordllama-l2-supercat-256-Binary"]
)
def test_an_unknown_name_is_refused_with_a_list_of_the_known(name: str, registered: None) -> None:
    with pytest.raises(UnknownModelError) as caught:
        SentenceTransformer(name)
    assert isinstance(caught.value, ValueError)
    message = str(caught.value)
    assert repr(name) in message
    for part in ("wordllama-l2-supercat-DIM", "wordllama-l3-supercat-DIM", "64, 128, 256, 512, 1024", "-binary"):
        assert part in message


@pytest.mark.parametrize("label", UNAVAILABLE)
def test_what_the_hub_refuses_is_named_with_the_hubs_answer(label: str, online: Run) -> None:
    load, status = UNAVAILABLE[label]
    outcome = online.outcomes[label]
    assert outcome.error == "ModelUnavailableError"
    for part in (load.name, *load.on_hub, str(status), *EMBEDDED, load.options.get("revision", "")):
        assert part in outcome.message
    assert "\n" not in outcome.message


@pytest.mark.parametrize("label", HUB_SENDS)
def test_a_file_that_is_no_model_is_named(label: str, online: Run) -> None:
    load, _ = HUB_SENDS[label]
    assert online.outcomes[label].error == "ModelLoadError"
    assert load.filename in online.outcomes[label].message


def test_a_model_that_is_not_cached_is_unavailable_offline(offline: Run) -> None:
    outcome = offline.outcomes["uncached"]
    assert outcome.error == "ModelUnavailableError"
    for part in ("l2_supercat_512_binary.safetensors", L2, *EMBEDDED):
        assert part in outcome.message


def test_local_files_only_looks_no_further_than_the_cache(tmp_path: Path, registered: None) -> None:
    with pytest.raises(ModelUnavailableError, match=r"l3_supercat_256\.safetensors") as caught:
        SentenceTransformer("wordllama-l3-supercat", cache_folder=str(tmp_path), local_files_only=True)
    assert isinstance(caught.value, OSError)


def test_the_file_that_is_named_is_the_one_that_is_missing(online: Run, home: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(home / "hub", cache, symlinks=True, ignore=shutil.ignore_patterns(L3_TOKENIZER))
    with pytest.raises(ModelUnavailableError, match=L3_TOKENIZER):
        released.fetch("wordllama-l3-supercat", cache_folder=str(cache), local_files_only=True)


# The class is otherwise the library's own


def test_unregister_puts_back_the_very_same_constructor() -> None:
    original = SentenceTransformer.__init__
    wordllama_st.register()
    replaced = SentenceTransformer.__init__
    assert replaced is not original
    assert inspect.signature(replaced) == inspect.signature(original)
    wordllama_st.register()
    assert SentenceTransformer.__init__ is replaced
    wordllama_st.unregister()
    assert SentenceTransformer.__init__ is original
    wordllama_st.unregister()
    assert SentenceTransformer.__init__ is original


def test_a_local_directory_of_a_released_name_wins(
    local_model: Path, registered: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    local_model.rename(local_model.with_name(EMBEDDED[0]))
    monkeypatch.chdir(local_model.parent)
    model = SentenceTransformer(EMBEDDED[0], device="cpu")
    assert model.get_embedding_dimension() == 6
    assert isinstance(model[1], Normalize)


def test_other_models_load_as_they_did(local_model: Path) -> None:
    before = SentenceTransformer(str(local_model), device="cpu").encode(TEXTS)
    wordllama_st.register()
    try:
        after = SentenceTransformer(str(local_model), device="cpu").encode(TEXTS)
        from_modules = SentenceTransformer(modules=list(SentenceTransformer(str(local_model), device="cpu")))
        with pytest.raises(FileNotFoundError, match="no/such/model not found"):
            SentenceTransformer("no/such/model")
    finally:
        wordllama_st.unregister()
    np.testing.assert_array_equal(after, before)
    np.testing.assert_array_equal(from_modules.encode(TEXTS), before)


def test_a_subclass_takes_the_names_too(registered: None) -> None:
    class Shouting(SentenceTransformer):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.shouts = True

    model = Shouting(EMBEDDED[2], device="cpu")
    assert model.shouts
    stock = SentenceTransformer(EMBEDDED[2], device="cpu")
    np.testing.assert_array_equal(model.encode(TEXTS), stock.encode(TEXTS))


def test_a_name_given_by_keyword_and_the_librarys_options_pass_through(registered: None) -> None:
    model = SentenceTransformer(
        model_name_or_path=EMBEDDED[0],
        device="cpu",
        truncate_dim=32,
        similarity_fn_name="dot",
        prompts={"query": "query: "},
        default_prompt_name="query",
    )
    assert model.device.type == "cpu"
    assert model.similarity_fn_name == "dot"
    vectors = model.encode("llamas")
    whole = SentenceTransformer(EMBEDDED[0], device="cpu").encode("query: llamas")
    np.testing.assert_array_equal(vectors, whole[:32])


def test_a_model_loaded_by_name_is_saved_for_the_stock_class(tmp_path: Path) -> None:
    wordllama_st.register()
    model = SentenceTransformer(EMBEDDED[2], device="cpu")
    wordllama_st.unregister()
    model.save(str(tmp_path / "saved"))
    stock = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_array_equal(stock.encode(TEXTS), model.encode(TEXTS))


def test_unregister_leaves_a_constructor_that_somebody_else_has_wrapped_since(monkeypatch: pytest.MonkeyPatch) -> None:
    original = SentenceTransformer.__init__
    wordllama_st.register()
    ours = SentenceTransformer.__init__

    @functools.wraps(ours)
    def theirs(self: SentenceTransformer, *args: Any, **kwargs: Any) -> None:
        ours(self, *args, **kwargs)

    monkeypatch.setattr(SentenceTransformer, "__init__", theirs)
    wordllama_st.unregister()
    assert SentenceTransformer.__init__ is theirs
    with pytest.raises(OSError, match="couldn't find them in the cached files"):
        SentenceTransformer(EMBEDDED[2])  # the library's own answer to a name it does not know
    monkeypatch.setattr(SentenceTransformer, "__init__", original)
