"""Commands of the command line in forked children of a process that has imported everything, each killed or let be.

A child is a process of its own, with its own files, locks and memory, and SIGKILL ends it as any other. Only the time
of importing torch is saved.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Audit events of calls that change the file system; those of ``open`` count where a file may be written.
CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "fcntl.flock"}
#: Parts, files of a cache and checkpoints are small here, so that a short run has many.
PART_ROWS, SAVE_STEPS = 256, 10
#: No run here takes nearly as long.
TIMEOUT = 120.0


@dataclass(frozen=True)
class Outcome:
    """What became of a child.

    Attributes:
        code: Its exit code; None if it was killed.
        output: What it printed.
        seconds: How long it ran.
        changes: Calls that changed the file system, if it was not killed.
        first_step: The step at which the Trainer began, if there was one.
        imported: The modules it imported.
    """

    code: int | None
    output: str
    seconds: float
    changes: int = 0
    first_step: int | None = None
    imported: tuple[str, ...] = ()

    @property
    def was_killed(self) -> bool:
        """Whether the process died of SIGKILL."""
        return self.code is None


def make_small() -> None:
    """Make parts, cached files and checkpoints small, in this process and in the children it will have."""
    from wordllama_st.recipes import teacher as recipe
    from wordllama_st.static.dataset import output
    from wordllama_st.training import teacher
    from wordllama_st.training.trainer import run_trainer

    output.PART_ROWS = recipe.TEXTS_PER_FILE = teacher.TEXTS_PER_FILE = PART_ROWS
    run_trainer.__kwdefaults__["save_steps"] = SAVE_STEPS


def import_modules(names: Sequence[str]) -> None:
    """Import what a child had to import, so that the next ones need not."""
    for name in names:
        with suppress(Exception):  # one that cannot be imported by its name alone
            importlib.import_module(name)


def run_fresh(arguments: Sequence[str]) -> tuple[int, str]:
    """Run a command to its end in a process that shares nothing with this one; return its exit code and its errors."""
    program = "import sys, children; children.make_small(); from wordllama_st.cli.main import main; sys.exit(main())"
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", program, *arguments]
    run = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    return run.returncode, run.stderr


class Child:
    """A command that has been started in a forked child.

    Args:
        arguments: Those of the command line.
        kill_at: The number of the change of the file system just before which the child kills itself.
        file_size: The largest file that it may write, in bytes.
    """

    def __init__(self, arguments: Sequence[str], *, kill_at: int | None = None, file_size: int | None = None) -> None:
        sys.stdout.flush()
        self._started = time.monotonic()
        (self._output, output), (self._report, report) = os.pipe(), os.pipe()
        self._process = os.fork()
        if self._process == 0:
            for descriptor in (1, 2):
                os.dup2(output, descriptor)
            _run_and_exit(arguments, report, kill_at, file_size)
        os.close(output)
        os.close(report)

    def finish(self, kill_after: float | None = None) -> Outcome:
        """Wait for its end, and kill it after some seconds."""
        texts: dict[int, bytes] = {self._output: b"", self._report: b""}
        open_pipes = set(texts)
        deadline = self._started + (TIMEOUT if kill_after is None else kill_after)
        while open_pipes:
            ready, _, _ = select.select(list(open_pipes), [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                os.kill(self._process, signal.SIGKILL)
                deadline = time.monotonic() + TIMEOUT
            for pipe in ready:
                if block := os.read(pipe, 2**16):
                    texts[pipe] += block
                else:
                    open_pipes.remove(pipe)
                    os.close(pipe)
        _, status = os.waitpid(self._process, 0)
        seconds = time.monotonic() - self._started
        if os.WIFSIGNALED(status):
            if kill_after is None and seconds > TIMEOUT:
                raise TimeoutError(f"It ran for more than {TIMEOUT:.0f} s.")
            if os.WTERMSIG(status) != signal.SIGKILL:
                raise ChildProcessError(f"It died of signal {os.WTERMSIG(status)}.")
            return Outcome(None, texts[self._output].decode(), seconds)
        report: dict[str, Any] = json.loads(texts[self._report])
        return Outcome(os.WEXITSTATUS(status), texts[self._output].decode(), seconds, **report)


def run(
    arguments: Sequence[str],
    *,
    kill_after: float | None = None,
    kill_at: int | None = None,
    file_size: int | None = None,
) -> Outcome:
    """Run a command in a child to its end, or to the point at which it is killed."""
    return Child(arguments, kill_at=kill_at, file_size=file_size).finish(kill_after)


def call(function: Callable[..., object], *arguments: object) -> None:
    """Call a function in a child, whose threads and memory end with it."""
    process = os.fork()
    if process == 0:
        try:
            function(*arguments)
            os._exit(0)
        finally:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    if os.waitpid(process, 0)[1]:
        raise ChildProcessError(f"{function.__name__}{arguments} has failed.")


def _run_and_exit(arguments: Sequence[str], report: int, kill_at: int | None, file_size: int | None) -> None:
    """Run a command in this child as a new process would, and exit with its code."""
    code = 70
    try:
        import numpy as np
        from transformers.trainer_callback import DefaultFlowCallback

        from wordllama_st.cli.main import main

        random.seed()
        np.random.seed()
        before = set(sys.modules)
        changes, steps = _Changes(kill_at), []

        def on_train_begin(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            steps.append(state.global_step)

        DefaultFlowCallback.on_train_begin = on_train_begin
        if file_size is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
        code = main(arguments)
        counted = changes.count
        sys.stdout.flush()
        imported = tuple(sorted(set(sys.modules) - before))
        told = {"changes": counted, "first_step": steps[0] if steps else None, "imported": imported}
        with os.fdopen(report, "w") as file:
            json.dump(told, file)
    except BaseException:
        import traceback

        traceback.print_exc()
        with os.fdopen(report, "w") as file:
            json.dump({}, file)
    finally:
        os._exit(code)


class _Changes:
    """Counts calls that change the file system, and kills the process just before one of them."""

    def __init__(self, kill_at: int | None) -> None:
        self.count, self._kill_at = 0, kill_at
        self._fsync = os.fsync
        os.fsync = self._counted_fsync  # there is no event of it
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in CHANGES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            self._add()

    def _counted_fsync(self, descriptor: int) -> None:
        self._add()
        self._fsync(descriptor)

    def _add(self) -> None:
        self.count += 1
        if self.count == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
