"""What a reader may not do, whatever is in a file: take long or much memory, reach out, or run what the file says."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any

#: Of processor time: others may keep the machine busy.
SECONDS = 10
#: That may be allocated on top of what is in use, in bytes.
MEMORY = 2**30
#: Inputs after which what is in use is looked up again.
_OFTEN = 256

#: What transformers and others import on their own account, at some files only.
_OPTIONAL = {"tiktoken", "tiktoken_ext"}
_PROCESSES = {
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "pty.spawn",
}
_NETWORK = {
    "socket.connect",
    "socket.bind",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.sendto",
    "urllib.Request",
}
_CHANGES = {"os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
#: The standard library's own uses of exec, by file.
_MAKE_CODE = {f"{module}.py" for module in ("dataclasses", "collections/__init__", "typing", "enum", "functools")}


class Forbidden(BaseException):
    """A reader did what no file may make it do; no ``except Exception`` hides it."""


class Guards:
    """The limits and prohibitions of a process.

    Args:
        folder: The only one whose files may be opened, beside those of the installed packages and of the system.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = os.path.realpath(folder)
        here = Path(__file__).parents[2]
        installed = {
            sys.prefix,
            sys.base_prefix,
            *sys.path,
            str(here / "wordllama_st"),
            "/usr",
            "/proc",
            "/sys",
            "/dev",
        }
        self._readable = tuple(f"{os.path.realpath(path)}/" for path in (*installed, folder) if path)
        self._packages: set[str] = set()
        self._armed, self._count, self._limit = False, 0, 0
        self._done: list[str] = []
        sys.addaudithook(self._audit)

    @contextmanager
    def on_input(self) -> Iterator[None]:
        """Watch over the reading of one input; Forbidden tells what it did.

        A process that takes too long is ended by SIGPROF; one that takes too much memory has a MemoryError, or ends.
        """
        if self._count % _OFTEN == 0:
            self._packages = {*sys.stdlib_module_names, *_OPTIONAL, *(name.partition(".")[0] for name in sys.modules)}
            in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            self._limit = in_use + MEMORY
        self._count += 1
        resource.setrlimit(resource.RLIMIT_AS, (self._limit, resource.RLIM_INFINITY))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        self._armed = True
        try:
            yield
        finally:
            self._armed = False
            signal.setitimer(signal.ITIMER_PROF, 0)
            # What this process does between inputs, as importing what the next target needs, is not limited.
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        if self._done:
            raise Forbidden(self._done[0])

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._armed:
            return
        fault = None
        if event == "open":
            fault = self._opened(*arguments)
        elif event in _PROCESSES or event in _NETWORK or event == "pickle.find_class":
            fault = f"{event} {arguments}"
        elif event in _CHANGES:
            # What is relative to a folder that was opened, as by shutil.rmtree, is no more than that folder.
            paths = [path for path in arguments if isinstance(path, (str, bytes, os.PathLike)) and os.path.isabs(path)]
            if not all(map(self._is_inside, paths)):
                fault = f"{event} {arguments}"
        elif event == "import":
            if arguments[0].partition(".")[0] not in self._packages:
                fault = f"import of {arguments[0]}"
        elif event == "exec":
            fault = self._executed(arguments[0])
        if fault is not None:
            self._done.append(fault)
            raise Forbidden(fault)

    def _opened(self, path: Any, mode: Any, flags: Any) -> str | None:
        if isinstance(path, int) or not isinstance(path, (str, bytes, os.PathLike)):
            return None
        try:
            place = os.path.realpath(os.fsdecode(path))
        except ValueError:  # no path at all, as the system will say
            return None
        if isinstance(flags, int) and flags & _WRITES and not place.startswith("/dev/"):
            return None if self._is_inside(place) else f"{path!r} was opened for writing"
        return None if f"{place}/".startswith(self._readable) else f"{path!r} was opened, which is {place}"

    def _is_inside(self, path: Any) -> bool:
        return f"{os.path.realpath(os.fsdecode(path))}/".startswith(f"{self._folder}/")

    def _executed(self, code: CodeType) -> str | None:
        name = code.co_filename
        if name.startswith("<frozen ") or (os.path.isabs(name) and not self._is_inside(name)):
            return None  # a module of an installed package
        caller = sys._getframe(2).f_code.co_filename
        return None if caller.endswith(tuple(_MAKE_CODE)) else f"code of {name} was run by {caller}"
