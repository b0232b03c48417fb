"""The table of a model on the Hub is taken by its own bytes, and kept for when there is no network.

Protects: what is fetched, and how much; commits, tokens, the cache; what breaks is resumed, what is refused is said.
huggingface_hub runs unchanged against real HTTP on the loopback.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from checkpoints import llama_config
from hub_server import BRANCH, COMMIT, TAG, HubServer
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from wordllama_st.storage.hub import RETRIES

REPO = "camel/llama-large"
KEY = "model.embed_tokens.weight"

_EXTRACT = """
import os, sys
from wordllama_st.storage import hub
from wordllama_st.cli.main import main

hub.RETRY_WAIT = float(os.environ.get("PATIENCE", 0.01))
sys.exit(main(["extract", *sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> dict[str, bytes]:
    """A sharded repository whose table is one tensor of many: 300 x 1,024 float32 (1.2 MB) of 10 MB."""
    directory = tmp_path_factory.mktemp("repository")
    config = llama_config(tie_word_embeddings=False)
    config.hidden_size, config.intermediate_size = 1_024, 256
    LlamaForCausalLM(config).save_pretrained(directory, max_shard_size="4MB")
    tokenizer.save(str(directory / "tokenizer.json"))
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def hub(files: dict[str, bytes]) -> Iterator[HubServer]:
    with HubServer({(REPO, name): content for name, content in files.items()}) as server:
        yield server


class Machine:
    """A machine with a cache of its own, and the hub as its endpoint."""

    def __init__(self, home: Path, hub: HubServer) -> None:
        self.home, self.hub, self.out = home, hub, home / "codebook"

    def extract(self, *arguments: str, repo: str = REPO, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        return subprocess.run(
            [sys.executable, "-c", _EXTRACT, repo, "--out", str(self.out), "--overwrite", *arguments],
            env=kept | {"HF_ENDPOINT": self.hub.url, "HF_HOME": str(self.home / "hf")} | environment,
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip

    def table(self) -> torch.Tensor:
        return load_file(self.out / "codebook.safetensors")["embedding.weight"]


@pytest.fixture
def machine(tmp_path: Path, hub: HubServer) -> Machine:
    return Machine(tmp_path, hub)


@pytest.fixture(scope="module")
def expected(files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    shard = json.loads(files["model.safetensors.index.json"])["weight_map"][KEY]
    path = tmp_path_factory.mktemp("shard") / shard
    path.write_bytes(files[shard])
    return load_file(path)[KEY]


def test_only_the_tables_bytes_are_fetched_and_then_none(
    machine: Machine, hub: HubServer, files: dict[str, bytes], expected: torch.Tensor
) -> None:
    done = machine.extract()
    assert done.returncode == 0, done.stderr
    assert f"{REPO} at {COMMIT}: {KEY} [300, 1024] float32" in done.stdout
    assert torch.equal(machine.table(), expected)
    small = sum(len(content) for name, content in files.items() if not name.endswith(".safetensors"))
    assert hub.bytes_served <= expected.numel() * 4 + small + 200_000
    assert sum(map(len, files.values())) > 3 * hub.bytes_served

    provenance = json.loads((machine.out / "codebook.json").read_text())
    assert provenance["commit"] == COMMIT
    assert provenance["sha256"] == hashlib.sha256(expected.numpy().tobytes()).hexdigest()

    # Again, and then with no network at all.
    before = hub.bytes_served
    assert machine.extract().returncode == 0
    assert hub.bytes_served == before
    asked = len(hub.requests)
    assert machine.extract(HF_HUB_OFFLINE="1").returncode == 0
    assert len(hub.requests) == asked
    assert torch.equal(machine.table(), expected)


@pytest.mark.parametrize("revision", [BRANCH, TAG, COMMIT])
def test_a_revision_is_pinned_to_its_commit(revision: str, machine: Machine) -> None:
    done = machine.extract("--revision", revision, "--tensor-name", KEY)
    assert done.returncode == 0, done.stderr
    assert json.loads((machine.out / "codebook.json").read_text())["commit"] == COMMIT


def test_one_file_without_an_index_will_do(
    machine: Machine, hub: HubServer, files: dict[str, bytes], expected: torch.Tensor
) -> None:
    shard = json.loads(files["model.safetensors.index.json"])["weight_map"][KEY]
    del hub.files[REPO, "model.safetensors.index.json"]
    hub.files[REPO, "model.safetensors"] = files[shard]
    done = machine.extract()
    assert done.returncode == 0, done.stderr
    assert torch.equal(machine.table(), expected)
    assert machine.extract(HF_HUB_OFFLINE="1").returncode == 0


def test_the_token_is_sent(machine: Machine, hub: HubServer) -> None:
    assert machine.extract("--token", "hf_secret", "--tensor-name", KEY).returncode == 0
    assert {request.token for request in hub.requests if request.filename} == {"hf_secret"}


def test_a_token_does_not_follow_a_redirect_to_another_host(
    machine: Machine, hub: HubServer, files: dict[str, bytes], expected: torch.Tensor
) -> None:
    with HubServer(hub.files) as storage:
        elsewhere = storage.url.replace("127.0.0.1", "localhost")  # huggingface_hub goes by the name of the host
        hub.redirects = dict.fromkeys(hub.files, elsewhere)
        done = machine.extract("--token", "hf_secret", "--tensor-name", KEY)
        assert done.returncode == 0, done.stderr
        assert torch.equal(machine.table(), expected)
        fetched = {request.filename for request in storage.requests}
        assert {"tokenizer.json", json.loads(files["model.safetensors.index.json"])["weight_map"][KEY]} <= fetched
        assert {request.token for request in storage.requests} == {None}
    assert {request.token for request in hub.requests if request.filename} == {"hf_secret"}


def test_connections_that_break_are_resumed(machine: Machine, hub: HubServer, expected: torch.Tensor) -> None:
    hub.breaks = 4
    done = machine.extract("--tensor-name", KEY)
    assert done.returncode == 0, done.stderr
    assert hub.breaks == 0
    assert torch.equal(machine.table(), expected)


def test_an_interrupted_download_goes_on_where_it_broke_off(
    machine: Machine, hub: HubServer, files: dict[str, bytes], expected: torch.Tensor
) -> None:
    shard = json.loads(files["model.safetensors.index.json"])["weight_map"][KEY]
    machine.extract("--tensor-name", KEY)
    (kept,) = (machine.home / "hf/assets").rglob("*.embed_tokens.weight.safetensors")
    partial = kept.with_name(f"{kept.name}.incomplete")
    partial.write_bytes(kept.read_bytes()[:1_000_000])
    kept.unlink()
    before = hub.bytes_served
    assert machine.extract("--tensor-name", KEY).returncode == 0
    assert hub.bytes_served - before < 300_000
    assert hub.downloads(shard) == 3  # the header once, the table twice
    assert torch.equal(machine.table(), expected)


def test_a_server_that_ignores_ranges_is_read_from_the_start_and_that_is_said(
    machine: Machine, hub: HubServer, expected: torch.Tensor
) -> None:
    hub.ignores_ranges = True
    done = machine.extract("--tensor-name", KEY)
    assert done.returncode == 0, done.stderr
    assert torch.equal(machine.table(), expected)
    assert "does not serve byte ranges" in done.stderr


def test_answers_without_a_byte_are_asked_for_again_a_few_times_only(
    machine: Machine, hub: HubServer, files: dict[str, bytes]
) -> None:
    hub.empties_ranges = True
    done = machine.extract("--tensor-name", KEY)
    assert done.returncode == 1
    assert "could not be fetched: The answer ends before" in done.stderr.splitlines()[-1]
    shard = json.loads(files["model.safetensors.index.json"])["weight_map"][KEY]
    assert hub.downloads(shard) == RETRIES + 1
    # The same goes for the table, where the header is known already.
    hub.empties_ranges = False
    assert machine.extract("--tensor-name", KEY).returncode == 0
    hub.empties_ranges = True
    next((machine.home / "hf/assets").rglob("*.embed_tokens.weight.safetensors")).unlink()
    before = hub.downloads(shard)
    assert machine.extract("--tensor-name", KEY).returncode == 1
    assert hub.downloads(shard) - before == RETRIES + 1


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        ((401, "RepoNotFound"), "no repository on the Hub"),
        ((401, "GatedRepo"), "is gated: accept its terms"),
        ((403, "GatedRepo"), "is gated: accept its terms"),
        ((403, None), "could not be fetched: "),
        ((404, "RepoNotFound"), "no repository on the Hub"),
        ((404, "RevisionNotFound"), "has no revision"),
        ((429, None), "could not be fetched: "),
        ((500, None), "could not be fetched: "),
    ],
)
@pytest.mark.parametrize("where", ["config", "shard"])
def test_a_refusal_is_an_error_of_one_line_and_leaves_nothing(
    refusal: tuple[int, str | None], message: str, where: str, machine: Machine, hub: HubServer, files: dict[str, bytes]
) -> None:
    shard = json.loads(files["model.safetensors.index.json"])["weight_map"][KEY]
    hub.refusals[REPO, "config.json" if where == "config" else shard] = refusal
    done = machine.extract("--revision", TAG, "--tensor-name", KEY)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not machine.out.exists()


def test_no_network_and_no_cache_is_said(machine: Machine) -> None:
    done = machine.extract(HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert "not in the local cache" in done.stderr.splitlines()[-1]


_LOAD = """
import sys, time
slept = []
time.sleep = slept.append
from wordllama_st import Codebook
from wordllama_st.errors import ModelLoadError, ModelUnavailableError
from wordllama_st.static.formats.load import read_static_model

kind, source = sys.argv[1:]
if kind == "teacher":
    from wordllama_st.training.teacher import load_teacher
try:
    if kind == "teacher":
        load_teacher(source)
    elif kind == "codebook":
        Codebook.from_pretrained(source, tensor_name="x")
    else:
        read_static_model(source)
except (ModelLoadError, ModelUnavailableError) as error:
    print(sum(slept), error)
"""


@pytest.mark.parametrize(
    ("kind", "source"),
    [("codebook", REPO), ("static model", REPO), ("released model", "wordllama-l3-supercat-64"), ("teacher", "tiny")],
)
def test_without_a_network_a_missing_model_is_told_at_once(kind: str, source: str, tmp_path: Path) -> None:
    """Nobody said that there is no network; huggingface_hub would wait for it for 23 seconds. Counted is what a process
    means to wait."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HOME": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", _LOAD, kind, source],
        env=environment, capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    seconds, _, message = run.stdout.partition(" ")
    assert float(seconds) < 10
    refused = "not in the local cache and could not be fetched: [Errno 111] Connection refused"
    assert ("The teacher tiny cannot be loaded: No connection" if kind == "teacher" else refused) in message


def test_without_a_network_only_what_the_cache_lacks_is_missed(machine: Machine, hub: HubServer) -> None:
    assert machine.extract("--tensor-name", KEY).returncode == 0
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"http://127.0.0.1:{server.getsockname()[1]}"
    assert machine.extract("--tensor-name", KEY, HF_ENDPOINT=nobody).returncode == 0
    next((machine.home / "hf/assets").rglob("*.embed_tokens.weight.safetensors")).unlink()
    # A process that tried again would wait for longer than it is given.
    done = machine.extract("--tensor-name", KEY, HF_ENDPOINT=nobody, PATIENCE="1000")
    assert "could not be fetched: [Errno 111] Connection refused" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["./camel/llama", "/camel/llama", "a/b/c", "no such name", "--"])
def test_what_cannot_be_a_repository_is_not_asked_for(name: str, machine: Machine, hub: HubServer) -> None:
    done = machine.extract(repo=name)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert hub.requests == []
