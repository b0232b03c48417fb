"""A Hugging Face Hub on the loopback, as far as ``hf_hub_download`` needs one.

It protects the tests from the network, and them from pretending: huggingface_hub runs unchanged, with its own client,
cache, metadata requests and errors, against real HTTP. Point a process at it with ``HF_ENDPOINT`` (read when
huggingface_hub is imported, so set it in a subprocess's environment).
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
BRANCH = "main"
TAG = "v1.0"

_FILE_URL = re.compile(r"/(?P<repo_id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<filename>.+)")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(frozen=True)
class Request:
    """A request that was served, and how.

    Attributes:
        method: ``"HEAD"`` or ``"GET"``.
        path: Of the URL, unquoted.
        filename: The file asked for; None if the URL was not that of a file.
        token: The bearer token it carried, if any.
        status: The answer's.
    """

    method: str
    path: str
    filename: str | None
    token: str | None
    status: int


@dataclass(frozen=True)
class Answer:
    """An answer's status, headers and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class HubServer:
    """Serves files at one commit, under the branch ``main`` and one tag.

    Args:
        files: The content of each (repository, file name). It may be changed while the server runs.

    Attributes:
        requests: What was asked for, in order.
        bytes_served: Of all bodies.
        redirects: The URL of another server that has a (repository, file name), as the Hub's storage has large ones.
        ignores_ranges: Whether a range asked for is answered with the whole file, as some proxies do.
        empties_ranges: Whether a range asked for is answered with the headers that belong to it and no byte.
        breaks: Connections that will break, one after the other, each after half of a body above 10,000 bytes.
        refusals: The status and ``X-Error-Code`` (or None) with which a (repository, file name) is refused. It may
            be changed while the server runs.

    Example:
        ::

            with HubServer({("owner/model", "model.safetensors"): content}) as hub:
                subprocess.run([...], env=os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path)})
            assert hub.downloads("model.safetensors") == 1
    """

    def __init__(self, files: Mapping[tuple[str, str], bytes]) -> None:
        self.files = dict(files)
        self.requests: list[Request] = []
        self.refusals: dict[tuple[str, str], tuple[int, str | None]] = {}
        self.redirects: dict[tuple[str, str], str] = {}
        self.bytes_served = 0
        self.ignores_ranges = False
        self.empties_ranges = False
        self.breaks = 0

        class Handler(_Handler):
            hub = self

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        """The endpoint, for ``HF_ENDPOINT``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def downloads(self, filename: str) -> int:
        """How often a file's content was sent, whole or in part."""
        return sum(r.method == "GET" and r.filename == filename and r.status in (200, 206) for r in self.requests)

    def answer(self, path: str, byte_range: str | None) -> Answer:
        """What the Hub says to a HEAD or GET of ``path``; a HEAD leaves the body out."""
        url = _FILE_URL.fullmatch(path)
        key = (url["repo_id"], url["filename"]) if url else ("", "")
        if key in self.refusals:
            return _refusal(*self.refusals[key])
        if url is None or key[0] not in {repo_id for repo_id, _ in self.files}:
            return _refusal(404, "RepoNotFound")
        if url["revision"] not in (BRANCH, TAG, COMMIT):
            return _refusal(404, "RevisionNotFound")
        if key not in self.files:
            return _refusal(404, "EntryNotFound", {"X-Repo-Commit": COMMIT})
        content = self.files[key]
        headers = {
            "Accept-Ranges": "bytes",
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
        }
        if key in self.redirects:
            linked = {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(len(content))}
            return Answer(302, headers | linked | {"Location": f"{self.redirects[key]}{path}"})
        if not self.ignores_ranges and (asked := _RANGE.fullmatch(byte_range or "")):
            start, end = int(asked[1]), min(int(asked[2] or len(content) - 1), len(content) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            return Answer(206, headers, b"" if self.empties_ranges else content[start : end + 1])
        return Answer(200, headers, content)

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"  # clients keep their connection, as they do with the Hub

    def _serve(self) -> None:
        path = unquote(urlsplit(self.path).path)
        answer = self.hub.answer(path, self.headers.get("Range"))
        url = _FILE_URL.fullmatch(path)
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        self.hub.requests.append(
            Request(self.command, path, url and url["filename"], token if scheme == "Bearer" else None, answer.status)
        )
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            body = answer.body
            if self.hub.breaks and len(body) > 10_000:
                self.hub.breaks -= 1
                body, self.close_connection = body[: len(body) // 2], True
            try:
                for start in range(0, len(body), 2**16):
                    self.wfile.write(body[start : start + 2**16])
                    self.hub.bytes_served += len(body[start : start + 2**16])
            except OSError:  # the client has what it wants
                self.close_connection = True

    do_GET = do_HEAD = _serve

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent; ``HubServer.requests`` is the log."""


def _refusal(status: int, error_code: str | None, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, {**(headers or {}), **({"X-Error-Code": error_code} if error_code else {})})
