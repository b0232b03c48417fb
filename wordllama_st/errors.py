"""Errors that this package raises on purpose, and checks for optional extras.

Each message names what is wrong and how to fix it. Each class is also a subclass of ``ValueError``, ``OSError`` or
``ImportError``. The command line prints any of them as a single line.
"""

from __future__ import annotations

from importlib.util import find_spec


class WordLlamaSTError(Exception):
    """Base of every error below."""


class ArgumentError(WordLlamaSTError, ValueError):
    """An argument that is not valid, alone or together with others."""


class CodebookError(WordLlamaSTError, ValueError):
    """A checkpoint, token table or tokenizer that cannot be used as a codebook."""


class CodebookNotFoundError(WordLlamaSTError, FileNotFoundError):
    """There is no checkpoint or codebook where one was named."""


class UnknownModelError(WordLlamaSTError, ValueError):
    """A ``wordllama-*`` name that was never released."""


class ModelUnavailableError(WordLlamaSTError, OSError):
    """A model whose files are not on this machine and could not be fetched."""


class ModelLoadError(WordLlamaSTError, ValueError):
    """A saved model that cannot, or must not, be loaded."""


class BakeError(WordLlamaSTError, ValueError):
    """A model whose text embeddings are not means of token embeddings."""


class TrainingError(WordLlamaSTError, ValueError):
    """Training that diverged, or checkpoints that belong to another run."""


class DatasetError(WordLlamaSTError, ValueError):
    """Training or evaluation data that cannot be used."""


class DocumentError(WordLlamaSTError, ValueError):
    """Documents that cannot be read, or from which no training pairs can be formed."""


class EvaluationError(WordLlamaSTError, ValueError):
    """A model whose embeddings cannot be scored."""


class OutputExistsError(WordLlamaSTError, FileExistsError):
    """The output would replace something that is already there."""


class OutputError(WordLlamaSTError, OSError):
    """Output that could not be written, as on a full disk."""


class ClusterError(WordLlamaSTError, ConnectionError):
    """A Ray cluster that does not answer, or whose workers die again and again."""


class MissingExtraError(WordLlamaSTError, ImportError):
    """A part of this package whose optional dependencies are not installed."""


def reason(error: BaseException) -> str:
    """Return another package's error message in one line, or its class if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def require(extra: str, *modules: str) -> None:
    """Check that an extra's modules are installed, without importing them.

    Raises:
        MissingExtraError: If one is not; the message says which ``pip install`` fixes it.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise MissingExtraError(
            f"This needs {' and '.join(module.replace('_', '-') for module in missing)}: "
            f'pip install "wordllama-st[{extra}]"',
            name=missing[0],
        )
