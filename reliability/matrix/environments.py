"""Virtual environments with chosen versions of what the packages of this repository require, made by pip.

The oldest versions are the lower bounds of the pyproject.toml files, read there: ``numpy>=2`` becomes ``numpy==2``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import tomllib
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
DIRECTORY = ROOT / ".venv-matrix"
#: How much of what a failed process printed is shown.
LINES = 20
#: The packages of this repository, which are built from its files; pip installs all others from its index.
PROJECTS = {
    "wordllama-st": ROOT,
    "langchain-wordllama": ROOT / "integrations" / "langchain",
    "llama-index-embeddings-wordllama": ROOT / "integrations" / "llama-index",
}


class Environment(NamedTuple):
    """A virtual environment, and what its interpreter checks.

    Attributes:
        checks: Functions of checks.py.
        packages: What pip is told to install.
        oldest: Names of packages to hold at the lower bounds of the pyproject.toml files; ``*`` for all of them. The
            others are the newest that constraints.txt and the packages themselves allow.
    """

    name: str
    checks: Sequence[str]
    packages: Sequence[str]
    oldest: Sequence[str] = ()

    @property
    def directory(self) -> Path:
        """Where it is."""
        return DIRECTORY / self.name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.directory / "bin" / "python"

    @property
    def requirements(self) -> list[Requirement]:
        """The packages, and what those of this repository among them require, directly and of each other."""
        return [each for package in self.packages for each in expand(Requirement(package))]

    @property
    def projects(self) -> list[str]:
        """The names of the packages of this repository that are installed."""
        return sorted({each.name for each in self.requirements} & set(PROJECTS))

    @property
    def constraints(self) -> list[str]:
        """Requirements for pip's ``--constraint``."""
        bounds = lower_bounds(self.requirements) if self.oldest else {}
        oldest = {name: bound for name, bound in bounds.items() if {name, "*"} & set(self.oldest)}
        lines = (ROOT / "constraints.txt").read_text().splitlines()
        pins = [line for line in lines if not line.startswith("#") and Requirement(line).name not in oldest]
        return [*pins, *(f"{name}=={bound}" for name, bound in oldest.items())]


def expand(requirement: Requirement) -> Iterator[Requirement]:
    """Yield a requirement; of a package of this repository, also what it requires, with the extras asked for."""
    yield requirement
    if requirement.name in PROJECTS:
        table = tomllib.loads((PROJECTS[requirement.name] / "pyproject.toml").read_text())["project"]
        extras = table.get("optional-dependencies", {})
        for line in chain(table["dependencies"], *(extras[name] for name in sorted(requirement.extras))):
            yield from expand(Requirement(line))


def lower_bounds(requirements: Sequence[Requirement]) -> dict[str, Version]:
    """Return the oldest version of each package, those of this repository aside, that satisfies the requirements.

    Raises:
        ValueError: If a requirement has no lower bound.
    """
    bounds: dict[str, Version] = {}
    for requirement in requirements:
        if requirement.name in PROJECTS:
            continue
        versions = [Version(each.version) for each in requirement.specifier if each.operator == ">="]
        if not versions:
            raise ValueError(f"{requirement} has no lower bound.")
        bounds[requirement.name] = max([*versions, bounds.get(requirement.name, versions[0])])
    return bounds


def build_wheels(environments: Sequence[Environment], directory: Path) -> dict[str, Path]:
    """Build what the environments install of this repository, as it is now; the result is {name: wheel}."""
    wheels = {}
    for name in sorted({name for environment in environments for name in environment.projects}):
        source = PROJECTS[name]
        if source == ROOT:  # built from a copy, into which no earlier build has left files
            source = directory / "source"
            shutil.copytree(ROOT / "wordllama_st", source / "wordllama_st", ignore=shutil.ignore_patterns("*.so"))
            for file in ("pyproject.toml", "README.md", "LICENSE"):
                shutil.copy(ROOT / file, source)
        pip("wheel", "--no-deps", "--wheel-dir", str(directory / name), str(source))
        (wheels[name],) = (directory / name).glob("*.whl")
    return wheels


def make(environment: Environment, wheels: dict[str, Path]) -> None:
    """Make an environment, or keep the one that is there if it was made for the same requirements.

    The packages of this repository are installed from their wheels either way.
    """
    record, constraints = (environment.directory / name for name in ("requirements.txt", "constraints.txt"))
    wanted = "".join(f"{line}\n" for line in [*environment.requirements, *environment.constraints])
    install = ("--python", str(environment.python), "install")
    ours = {name: f"{name} @ {wheels[name].as_uri()}" for name in environment.projects}
    if not record.exists() or record.read_text() != wanted:
        venv.create(environment.directory, clear=True)
        constraints.write_text("".join(f"{line}\n" for line in environment.constraints))
        packages = map(Requirement, environment.packages)
        named = [f"{each} @ {wheels[each.name].as_uri()}" if each.name in ours else str(each) for each in packages]
        pip(*install, "--constraint", str(constraints), *named, *ours.values())
        record.write_text(wanted)
    elif ours:
        pip(*install, "--no-deps", "--force-reinstall", *ours.values())


def pip(*arguments: str) -> None:
    """Run pip."""
    run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments])


def run(command: Sequence[str], *, cwd: str | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a process and return what it printed.

    Raises:
        CalledProcessError: If it fails; the end of what it printed goes to stderr.
    """
    finished = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env)
    if finished.returncode:
        last = [*finished.stdout.splitlines()[-LINES:], *finished.stderr.splitlines()[-LINES:]]
        print(" ".join(command), *last, sep="\n", file=sys.stderr)
        finished.check_returncode()
    return finished.stdout
