"""Training in several processes, which ``torchrun`` and ``accelerate launch`` start; in one, all of this does nothing.

Every process runs the whole recipe. What writes, or need not be computed twice, the main process does alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import ParamSpec, TypeVar, cast

import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, parse_flag_from_env
from sentence_transformers.util import all_gather_with_grad, get_device_name
from torch import Tensor

from wordllama_st.errors import ArgumentError

P = ParamSpec("P")
T = TypeVar("T")

#: How long a process waits for another. A failed process is noticed by what launched it, not by waiting; and a teacher
#: may encode for longer than the half an hour that is torch's default.
TIMEOUT = timedelta(days=7)


def processes() -> PartialState:
    """Return what this process knows of itself and the others, and join them in the first call."""
    # accelerate takes torchrun's processes for strangers where there is no GPU, unless it is told that there is none.
    cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or get_device_name() == "cpu"
    return PartialState(cpu=cpu) if dist.is_initialized() else PartialState(cpu=cpu, timeout=TIMEOUT)


def num_processes() -> int:
    """Return the number of processes that train together."""
    return int(processes().num_processes)


def is_main_process() -> bool:
    """Tell whether this is the process that writes and prints."""
    return bool(processes().is_main_process)


def from_main_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in the main process, and return its result in every process.

    Raises:
        SystemExit: In the other processes, if the function failed in the main process, which raises the error.
    """
    if not is_main_process():
        return cast(T, _share(None))
    try:
        result = function(*args, **kwargs)
    except Exception:
        _share(None, failed=True)
        raise
    _share(result)
    return result


@contextmanager
def main_process_first() -> Iterator[None]:
    """Run a block in the main process, whose downloads and caches the others then find, and after that in these.

    Raises:
        SystemExit: In the other processes, if the block failed in the main process, which raises the error.
    """
    if not is_main_process():
        _share(None)
        yield
        return
    try:
        yield
    except Exception:
        _share(None, failed=True)
        raise
    _share(None)


def _share(result: T, *, failed: bool = False) -> T:
    """Return the main process's result in every process; if it failed, end the others without a word."""
    shared = [failed, result]
    broadcast_object_list(shared)
    if shared[0] and not is_main_process():
        raise SystemExit(1)
    return cast(T, shared[1])


def leave_processes() -> None:
    """Leave the other processes, at the end of a program."""
    processes().destroy_process_group()


def refuse_several_processes(job: str) -> None:
    """Refuse a job that does not share its work.

    Raises:
        ArgumentError: If there are several processes.
    """
    if num_processes() > 1:
        raise ArgumentError(f"{job} runs in one process, and {num_processes()} were launched; run it without them.")


def gathered(tensor: Tensor) -> Tensor:
    """Return the tensors [B, ...] of all processes as one, [W B, ...], through which gradients flow back to each."""
    if num_processes() == 1:
        return tensor
    return all_gather_with_grad(tensor)


def own_rows(count: int) -> slice:
    """Return which of the ``count`` rows that :func:`gathered` returned are this process's."""
    each = count // num_processes()
    start = int(processes().process_index) * each
    return slice(start, start + each)


def used_anywhere(numbers: Tensor, limit: int) -> Tensor:
    """Return the distinct numbers below ``limit`` that the tensors of all processes hold, in order."""
    distinct: Tensor = numbers.unique()
    if num_processes() > 1:
        used = torch.zeros(limit, dtype=torch.uint8, device=numbers.device)
        used[distinct] = 1
        dist.all_reduce(used, dist.ReduceOp.MAX)
        distinct = used.nonzero().squeeze(1)
    return distinct
