"""Static models on the Hub, and what loading them costs.

Protects: every layout loads from a repository, of which only the model's own files are fetched, and once; a pin and a
token are honoured; what was fetched, by us or by another library, loads offline; of a repository that holds something
else no weights are fetched; errors say what is missing and what to do; and nothing heavy is imported for any of it.

huggingface_hub reads its environment when it is imported, so all of it runs in subprocesses, against the Hub of
hub_server.py. The tests look at what came of them.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hub_server import BRANCH, COMMIT, TAG, HubServer
from static_models import random_table, shared_rows
from tokenizers import Tokenizer

from wordllama_st.static import released
from wordllama_st.static.formats import model2vec, sentence_transformers
from wordllama_st.static.table import StaticTable

TRANSFORMER = '[{"path": "", "type": "sentence_transformers.models.Transformer"}]'
STATIC = '[{"path": "", "type": "sentence_transformers.models.StaticEmbedding"}]'
UNBAKED = '[{"path": "0_LLMTokenEmbedding", "type": "wordllama_st.modules.llm_token_embedding.LLMTokenEmbedding"}]'

_LOADER = """
import json, sys
import numpy as np
from wordllama_st.static.formats.load import read_static_model

job, outcomes = json.load(sys.stdin), {}
if job["impatient"]:
    import time
    time.sleep = lambda seconds: None  # the Hub client waits ever longer between its tries
if job["prefetch"]:
    from huggingface_hub import hf_hub_download
    for repository, filename in job["prefetch"]:
        hf_hub_download(repository, filename)
for label, (source, options) in job["loads"].items():
    try:
        table = read_static_model(source, **options)
    except Exception as error:
        outcomes[label] = {"error": type(error).__name__, "message": str(error)}
    else:
        outcomes[label] = {"sum": float(np.abs(table.expanded()).sum()), "normalize": table.normalize,
                           "prompts": table.prompts, "dtype": table.weight.dtype.name}
heavy = ("torch", "sentence_transformers", "transformers", "wordllama", "model2vec", "huggingface_hub")
print(json.dumps({"outcomes": outcomes, "imported": [name for name in heavy if name in sys.modules]}))
"""


@dataclass(frozen=True)
class Load:
    """A call of ``read_static_model(source, **options)``."""

    source: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """What came of a subprocess: of each load what it gave or raised, and what it had imported in the end."""

    outcomes: dict[str, dict[str, Any]]
    imported: list[str]


#: What loads.
LOADS = {
    "folder": Load("org/folder"),
    "folder again": Load("org/folder"),
    "folder at a tag": Load("org/folder", {"revision": TAG}),
    "folder at a commit": Load("org/folder", {"revision": COMMIT}),
    "root": Load("org/root"),
    "projected": Load("org/projected"),
    "no settings": Load("org/no-settings"),
    "model2vec": Load("org/model2vec", {"token": "hf_token"}),
    "model2vec, config alone": Load("org/config-alone"),
}
#: What does not, with the error and what its message has.
FAILURES: dict[str, tuple[Load, str, list[str]]] = {
    "unbaked": (Load("org/unbaked"), "ModelLoadError", ["not baked", "wordllama-st bake"]),
    "transformer": (Load("org/transformer"), "ModelLoadError", ["is a transformer", "org--transformer"]),
    "bert": (Load("org/bert"), "ModelLoadError", ["is no static model", "org--bert"]),
    "pickle": (Load("org/pickle"), "ModelLoadError", ["org/pickle", "has no model.safetensors", "Pickles"]),
    "data": (Load("org/data"), "ModelLoadError", ["org/data", "has no config.json"]),
    "cut": (Load("org/cut"), "ModelLoadError", ["model.safetensors", "cut short"]),
    "no tokenizer": (Load("org/no-tokenizer"), "ModelLoadError", ["has no tokenizer.json"]),
    "no revision": (Load("org/folder", {"revision": "v9"}), "ModelUnavailableError", ["org/folder", "revision 'v9'"]),
    "no repository": (
        Load("org/nothing"),
        "ModelUnavailableError",
        ["no directory org/nothing", "no repository on the Hub"],
    ),
    "gated": (Load("org/gated"), "ModelUnavailableError", ["org/gated is gated", "hf auth login"]),
    "forbidden": (Load("org/forbidden"), "ModelUnavailableError", ["org/forbidden", "modules.json", "403"]),
}
REFUSALS = {("org/gated", "modules.json"): (403, "GatedRepo"), ("org/forbidden", "modules.json"): (403, None)}
#: Those in the layout of sentence-transformers.
IN_FOLDERS = ("org/folder", "org/no-settings", "org/projected")
#: Fetched by another library, which asks for no modules.json.
PREFETCH = [("org/prefetched", name) for name in ("config.json", "model.safetensors", "tokenizer.json")]


def run_loads(
    loads: dict[str, Load], environment: dict[str, str], *, prefetch: list[Any] | None = None, impatient: bool = False
) -> Run:
    """Load models in a subprocess that inherits no settings of the Hub's."""
    setting = re.compile(r"HF_.*|HUGGING_?FACE.*|.*_proxy", re.IGNORECASE)
    inherited = {key: value for key, value in os.environ.items() if not setting.fullmatch(key)}
    sources = {label: (load.source, load.options) for label, load in loads.items()}
    job = {"loads": sources, "prefetch": prefetch, "impatient": impatient}
    run = subprocess.run(
        [sys.executable, "-c", _LOADER],
        input=json.dumps(job),
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    return Run(**json.loads(run.stdout.splitlines()[-1]))


def directory_files(repository: str, directory: Path) -> dict[tuple[str, str], bytes]:
    return {
        (repository, str(path.relative_to(directory))): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def tables(tokenizer: Tokenizer) -> dict[str, StaticTable]:
    """What the repositories hold."""
    random = replace(random_table(tokenizer), normalize=True, prompts={"query": "find: "})
    shared = replace(shared_rows(tokenizer), normalize=True)
    return {
        "org/folder": random,
        "org/root": random,
        "org/projected": replace(random, projection=np.eye(8, 20, 3, np.float32)),
        "org/no-settings": replace(random, prompts={}),
        "org/model2vec": replace(shared, prompts={"query": "find: "}),
        "org/config-alone": shared,
        "org/prefetched": shared,
    }


@pytest.fixture(scope="module")
def hub(tables: dict[str, StaticTable], tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    directory = tmp_path_factory.mktemp("hub")
    files: dict[tuple[str, str], bytes] = {}
    for repository, table in tables.items():
        write = sentence_transformers.write if repository in IN_FOLDERS else model2vec.write
        write(table, directory / repository, card="")
        files |= directory_files(repository, directory / repository)
        files[repository, "onnx/model.onnx"] = b"not for us"
    embedding = {
        name: files["org/folder", f"0_StaticEmbedding/{name}"] for name in ("model.safetensors", "tokenizer.json")
    }
    for name, content in embedding.items():
        files["org/root", name] = content
    files["org/root", "modules.json"] = files["org/root", "modules.json"].replace(b'"path": "."', b'"path": ""')
    del files["org/no-settings", "config_sentence_transformers.json"]
    for repository in ("org/config-alone", "org/prefetched"):
        del files[repository, "modules.json"]
    files |= {
        ("org/unbaked", "modules.json"): UNBAKED.encode(),
        ("org/unbaked", "0_LLMTokenEmbedding/codebook.safetensors"): b"large",
        ("org/transformer", "modules.json"): TRANSFORMER.encode(),
        ("org/transformer", "model.safetensors"): b"large",
        ("org/bert", "config.json"): b'{"model_type": "bert"}',
        ("org/bert", "model.safetensors"): b"large",
        ("org/pickle", "modules.json"): STATIC.encode(),
        ("org/pickle", "pytorch_model.bin"): b"pickle",
        ("org/data", "data.csv"): b"1,2",
        ("org/cut", "modules.json"): STATIC.encode(),
        ("org/cut", "model.safetensors"): embedding["model.safetensors"][:-1],
        ("org/cut", "tokenizer.json"): embedding["tokenizer.json"],
        ("org/no-tokenizer", "modules.json"): STATIC.encode(),
        ("org/no-tokenizer", "model.safetensors"): embedding["model.safetensors"],
        **{(repository, "README.md"): b"" for repository, _ in REFUSALS},
    }
    with HubServer(files) as server:
        server.refusals = dict(REFUSALS)
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Hub client's home, which the online subprocess fills and the offline one has."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def online(hub: HubServer, home: Path) -> Run:
    loads = LOADS | {label: load for label, (load, _, _) in FAILURES.items()}
    return run_loads(loads, {"HF_ENDPOINT": hub.url, "HF_HOME": str(home)}, prefetch=PREFETCH)


@pytest.fixture(scope="module")
def offline(online: Run, home: Path) -> Run:
    loads = LOADS | {"prefetched": Load("org/prefetched"), "uncached": Load("org/uncached")}
    return run_loads(loads, {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home)})


@pytest.fixture(scope="module")
def unreachable(online: Run, home: Path) -> Run:
    """Nobody said that there is no network: it is just not there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    loads = {"no settings": LOADS["no settings"], "config alone": Load("org/config-alone"), "new": Load("org/new")}
    environment = {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HOME": str(home)}
    return run_loads(loads, environment, impatient=True)


def assert_is(outcome: dict[str, Any], table: StaticTable) -> None:
    assert "error" not in outcome, outcome
    assert outcome["sum"] == pytest.approx(float(np.abs(table.expanded()).sum()))
    assert (outcome["normalize"], outcome["dtype"]) == (table.normalize, table.weight.dtype.name)


@pytest.mark.parametrize("label", LOADS)
def test_a_model_from_the_hub(label: str, online: Run, tables: dict[str, StaticTable]) -> None:
    table = tables[LOADS[label].source]
    assert_is(online.outcomes[label], table)
    assert online.outcomes[label]["prompts"] == ({} if "alone" in label else table.prompts)


def test_the_models_own_files_are_fetched_once_and_no_others(online: Run, hub: HubServer) -> None:
    fetched = [request.path for request in hub.requests if request.method == "GET" and request.status == 200]
    assert len(fetched) == len(set(fetched))
    assert not [path for path in fetched if path.endswith((".onnx", "README.md", ".bin", "codebook.safetensors"))]
    for repository in ("org/transformer", "org/bert"):
        assert not [path for path in fetched if repository in path and path.endswith(".safetensors")]


def test_a_token_reaches_the_hub_and_only_where_it_was_given(online: Run, hub: HubServer) -> None:
    assert {request.path.split("/resolve")[0] for request in hub.requests if request.token} == {"/org/model2vec"}


@pytest.mark.parametrize("label", FAILURES)
def test_what_is_no_static_model_or_cannot_be_had(label: str, online: Run) -> None:
    _, error, parts = FAILURES[label]
    outcome = online.outcomes[label]
    assert outcome.get("error") == error
    assert "\n" not in outcome["message"]
    for part in parts:
        assert part in outcome["message"]


@pytest.mark.parametrize("label", LOADS)
def test_what_was_fetched_loads_offline(label: str, online: Run, offline: Run) -> None:
    assert offline.outcomes[label] == online.outcomes[label]


def test_what_another_library_fetched_loads_offline(offline: Run, tables: dict[str, StaticTable]) -> None:
    assert_is(offline.outcomes["prefetched"], tables["org/prefetched"])


def test_what_was_not_fetched_is_unavailable_offline(offline: Run) -> None:
    assert offline.outcomes["uncached"]["error"] == "ModelUnavailableError"
    assert "no directory org/uncached" in offline.outcomes["uncached"]["message"]


def test_without_a_network_the_cache_serves_and_knows_what_the_hub_has_not(online: Run, unreachable: Run) -> None:
    assert unreachable.outcomes["no settings"] == online.outcomes["no settings"]
    assert unreachable.outcomes["config alone"] == online.outcomes["model2vec, config alone"]
    assert unreachable.outcomes["new"]["error"] == "ModelUnavailableError"
    assert "modules.json of org/new is not in the local cache" in unreachable.outcomes["new"]["message"]


def test_loading_imports_nothing_heavy(online: Run, tables: dict[str, StaticTable], tmp_path: Path) -> None:
    assert online.imported == ["huggingface_hub"]
    loads = {
        "released": Load(released.DEFAULT_MODEL),
        "weights": Load(str(released.fetch(released.DEFAULT_MODEL).weights)),
    }
    for write in (sentence_transformers.write, model2vec.write):
        write(tables["org/root"], tmp_path / write.__module__, card="")
        loads[write.__module__] = Load(str(tmp_path / write.__module__))
    local = run_loads(loads, {})
    assert not [outcome for outcome in local.outcomes.values() if "error" in outcome]
    assert local.imported == []


def test_the_branch_is_the_one_asked_for(online: Run, hub: HubServer) -> None:
    asked = {re.sub(r".*/resolve/(.*?)/.*", r"\1", request.path) for request in hub.requests}
    assert asked >= {BRANCH, TAG, COMMIT}
