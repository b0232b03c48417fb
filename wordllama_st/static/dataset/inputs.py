"""The input files of a dataset: paths, globs, directories and URLs, and what tells whether a file has changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec  # type: ignore[import-untyped]

from wordllama_st.errors import DatasetError, OutputExistsError, reason

#: File suffix -> how it is read. A file with another one is plain text, if it is named.
KINDS = {
    ".parquet": "parquet",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "text",
}
#: Where file systems say which version of a file they have.
_VERSIONS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")


@dataclass(frozen=True)
class InputFile:
    """A file of a file system of fsspec.

    ``name`` is its URL, or its path if it is local; ``kind`` is one of the values of ``KINDS``; ``version`` is its
    etag, or else when it was last changed.
    """

    name: str
    kind: str
    size: int
    version: str
    path: str
    filesystem: Any

    def open(self) -> Any:
        """Open it for reading bytes."""
        return self.filesystem.open(self.path, "rb")


def find_inputs(sources: Iterable[str | Path], out: Path) -> list[InputFile]:
    """Find input files: those of each source in the order of their names, each file once.

    Args:
        sources: Files, globs, and directories, whose files with known suffixes are taken, but none whose name or
            directory begins with ``.`` or ``_``; on disk or of a file system that fsspec has.
        out: The output directory, which must not be among them.

    Raises:
        DatasetError: If there is nothing at a source, or it cannot be reached.
        OutputExistsError: If a source is or has the output directory in it, or lies in it.
    """
    found: dict[str, InputFile] = {}
    for source in sources:
        try:
            filesystem, path = fsspec.core.url_to_fs(str(source))
            paths = _paths(filesystem, path)
        except (ImportError, ValueError, FileNotFoundError) as error:
            raise DatasetError(f"{source} cannot be opened: {reason(error)}") from error
        if not paths:
            raise DatasetError(f"There is no file {source}; as a directory, it would need {', '.join(KINDS)} files.")
        is_local = isinstance(filesystem, fsspec.get_filesystem_class("file"))
        if is_local:
            place = out.resolve()
            holds = filesystem.isdir(path) and place.is_relative_to(Path(path).resolve())
            if holds or any(Path(file).resolve().is_relative_to(place) for file in paths):
                raise OutputExistsError(f"{out} and the input {source} overlap; choose another output directory.")
        for file in paths:
            name = file if is_local else filesystem.unstrip_protocol(file)
            found[name] = _input_file(filesystem, file, name)
    if not found:
        raise DatasetError("There are no inputs; name a file, a directory or a glob at least.")
    return list(found.values())


def _paths(filesystem: Any, path: str) -> list[str]:
    if filesystem.isdir(path):
        root = PurePosixPath(path)
        return sorted(file for file in filesystem.find(path) if _is_data(PurePosixPath(file).relative_to(root)))
    if filesystem.exists(path):  # a name may have brackets in it
        return [path]
    return sorted(file for file in filesystem.glob(path) if filesystem.isfile(file))


def _is_data(path: PurePosixPath) -> bool:
    return path.suffix.lower() in KINDS and not any(part.startswith((".", "_")) for part in path.parts)


def _input_file(filesystem: Any, path: str, name: str) -> InputFile:
    info = filesystem.info(path)
    version = next((str(info[key]) for key in _VERSIONS if info.get(key)), "")
    kind = KINDS.get(PurePosixPath(path).suffix.lower(), "text")
    return InputFile(name, kind, int(info["size"] or 0), version, path, filesystem)
