"""What the Hub is asked, by a process of its own: huggingface_hub reads where it is when it is imported."""

import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

CONSTRUCT = (
    "import sys\n"
    "from langchain_wordllama import WordLlamaEmbeddings\n"
    "try:\n"
    "    WordLlamaEmbeddings(model='somebody/a-model', revision='v2', **eval(sys.argv[1]))\n"
    "except Exception as error:\n"
    "    print(type(error).__name__, error)\n"
)


class Refusing(ThreadingHTTPServer):
    """A Hub that lets nobody in, and remembers the paths asked for and with what authorization."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Refusal)
        self.requests: list[tuple[str, str | None]] = []


class Refusal(BaseHTTPRequestHandler):
    server: Refusing

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Authorization")))
        self.send_response(401)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Refusing]:
    with Refusing() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def construct(arguments: str, endpoint: str, cache: Path, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING_FACE"))}
    result = subprocess.run(
        [sys.executable, "-c", CONSTRUCT, arguments],
        env={**kept, "HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "NO_PROXY": "127.0.0.1", **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    return result.stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "authorization"),
    [
        ("{'token': 'hf_given'}", {}, "Bearer hf_given"),
        ("{}", {"HF_TOKEN": "hf_from_env"}, "Bearer hf_from_env"),
        ("{'token': 'hf_given'}", {"HF_TOKEN": "hf_from_env"}, "Bearer hf_given"),
        ("{}", {"HF_TOKEN": ""}, None),
        ("{}", {}, None),
    ],
)
def test_the_hub_gets_the_token_and_the_revision(
    hub: Refusing, tmp_path: Path, arguments: str, environment: dict[str, str], authorization: str | None
) -> None:
    output = construct(arguments, f"http://127.0.0.1:{hub.server_port}", tmp_path, **environment)
    assert output.startswith("ValidationError")
    assert "somebody/a-model" in output
    assert "hf_" not in output
    asked = [(path, used) for path, used in hub.requests if "somebody/a-model/resolve/v2/" in path]
    assert {used for _, used in asked} == {authorization}


def test_a_hub_that_cannot_be_reached_is_a_validation_error(tmp_path: Path) -> None:
    output = construct("{}", "http://127.0.0.1:9", tmp_path, HF_HUB_OFFLINE="1")
    assert output.startswith("ValidationError")
    assert "somebody/a-model" in output
