"""Every version that users have: a table of environments, each with what was checked in it.

    python reliability/matrix/matrix.py [ENVIRONMENT ...] [--short]

Without names, all of them. Each is a fresh virtual environment in .venv-matrix/, kept for the next run until what it
is made from changes; `make clean` removes them, and the newest versions are then looked up again. They take 20 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from subprocess import CalledProcessError
from tempfile import TemporaryDirectory
from typing import Any

from environments import Environment, build_wheels, make, run

CHECKS = Path(__file__).with_name("checks.py")
TRAINING = ("sentence-transformers", "transformers", "datasets", "accelerate")
EXTRAS = "train,fast,ray,gguf,plot,documents,sentencepiece"
ENVIRONMENTS = (
    Environment("st-3.2", ["load_baked"], ["sentence-transformers==3.2.*"]),
    Environment("st-4.1", ["load_baked"], ["sentence-transformers==4.1.*"]),
    Environment("st-5.1", ["load_baked"], ["sentence-transformers==5.1.*"]),
    Environment("st-newest", ["load_baked"], ["sentence-transformers"]),
    Environment("train-oldest", ["train"], ["wordllama-st[train]"], TRAINING),
    Environment("train-newest", ["train"], ["wordllama-st[train]"]),
    Environment("langchain-oldest", ["langchain"], ["langchain-wordllama"], ["*"]),
    Environment("langchain-newest", ["langchain"], ["langchain-wordllama"]),
    Environment("llama-index-oldest", ["llama_index"], ["llama-index-embeddings-wordllama"], ["*"]),
    Environment("llama-index-newest", ["llama_index"], ["llama-index-embeddings-wordllama"]),
    Environment("base-oldest", ["encode", "encode_uncompiled"], ["wordllama-st[data]"], ["*"]),
    Environment("base-newest", ["encode", "encode_uncompiled"], ["wordllama-st[data]"]),
    # With a torch that the index has for CUDA only on Linux: 3 GB to download, 6 GB on disk.
    Environment(
        "oldest", ["train", "command_line", "convert_tokenizers"], [f"wordllama-st[{EXTRAS}]", "pytest>=8"], ["*"]
    ),
)
#: Those that install in half a minute and cover the most.
SHORT = ("st-3.2", "base-oldest")
FAILED = "failed"
COLUMNS = ("environment", "versions", "check", "largest difference", "result")


def run_check(python: str | Path, check: str, reference: Path) -> dict[str, Any]:
    """Run a check in an empty directory, by an interpreter that imports only what is installed for it."""
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    variables |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [str(python), str(CHECKS), check, str(reference)]
    with TemporaryDirectory() as scratch:
        result: dict[str, Any] = json.loads(run(command, cwd=scratch, env=variables).splitlines()[-1])
    return result


def rows(environment: Environment, wheels: dict[str, Path], reference: Path) -> Iterator[tuple[str, ...]]:
    """Make an environment, run its checks, and yield a row of the table for each."""
    step = "installation"
    try:
        make(environment, wheels)
        for step in environment.checks:
            result = run_check(environment.python, step, reference)
            versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
            yield environment.name, versions, step, f"{result['difference']:.1g}", "ok"
    except CalledProcessError:
        yield environment.name, "", step, "", FAILED


def main() -> None:
    """Print the table row by row; exit with 1 if a check fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [environment.name for environment in ENVIRONMENTS]
    parser.add_argument("environments", nargs="*", metavar="ENVIRONMENT", help=", ".join(names))
    parser.add_argument("--short", action="store_true", help=" and ".join(SHORT))
    options = parser.parse_args()
    if unknown := set(options.environments) - set(names):
        parser.error(f"no such environment: {', '.join(sorted(unknown))}")
    chosen = options.environments or (SHORT if options.short else names)
    environments = [environment for environment in ENVIRONMENTS if environment.name in chosen]
    with TemporaryDirectory() as scratch:
        reference, wheels = Path(scratch, "reference"), Path(scratch, "wheels")
        newest = run_check(sys.executable, "write_reference", reference)["versions"]["sentence-transformers"]
        print(f"Python {platform.python_version()}; the reference is sentence-transformers {newest}.\n")
        print(f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}", sep="\n", flush=True)
        built = build_wheels(environments, wheels)
        failed = False
        for row in chain.from_iterable(rows(environment, built, reference) for environment in environments):
            print(f"| {' | '.join(row)} |", flush=True)
            failed |= row[-1] == FAILED
    sys.exit(failed)


if __name__ == "__main__":
    main()
