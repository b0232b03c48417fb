"""This process's memory, as the kernel counts it (Linux)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


def _status(field: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


def resident() -> int:
    """Bytes of this process in memory, mapped files included."""
    return _status("VmRSS")


def anonymous() -> int:
    """Bytes of this process in memory that no file backs."""
    return _status("RssAnon")


@dataclass
class Peak:
    """The most that was in use while it was watched, in bytes."""

    resident: int = 0
    anonymous: int = 0


@contextmanager
def watch_peak(interval: float = 0.002) -> Iterator[Peak]:
    """Sample this process's memory from a thread while the block runs."""
    peak, stop = Peak(), threading.Event()

    def sample() -> None:
        while not stop.is_set():
            peak.resident = max(peak.resident, resident())
            peak.anonymous = max(peak.anonymous, anonymous())
            time.sleep(interval)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()
