"""The errors this package raises on purpose.

Each names the thing that is wrong and how to mend it, and each is also one of Python's own kinds, so that callers
may catch ``ValueError``, ``OSError`` or ``ImportError`` as they would elsewhere. The command line prints any of them
as a single line.
"""

from __future__ import annotations

from importlib.util import find_spec


class WordLlamaSTError(Exception):
    """Base of every error below."""


class ArgumentError(WordLlamaSTError, ValueError):
    """An argument that has no meaning where it was given."""


class CodebookError(WordLlamaSTError, ValueError):
    """A checkpoint, token table or tokenizer that no codebook can be made of."""


class CodebookNotFoundError(WordLlamaSTError, FileNotFoundError):
    """There is no checkpoint or codebook where one was named."""


class UnknownModelError(WordLlamaSTError, ValueError):
    """A ``wordllama-*`` name that was never released."""


class ModelUnavailableError(WordLlamaSTError, OSError):
    """A model whose files are not on this machine and could not be fetched."""


class ModelLoadError(WordLlamaSTError, ValueError):
    """A saved model that cannot, or must not, be loaded."""


class BakeError(WordLlamaSTError, ValueError):
    """A model that no table of token vectors can stand for."""


class TrainingError(WordLlamaSTError, ValueError):
    """Training that diverged, or checkpoints that belong to another run."""


class DatasetError(WordLlamaSTError, ValueError):
    """Training data that no loss can be fed with."""


class DocumentError(WordLlamaSTError, ValueError):
    """Documents that cannot be read, or that no training pairs can be made of."""


class EvaluationError(WordLlamaSTError, ValueError):
    """A model whose vectors no score can be computed of."""


class OutputExistsError(WordLlamaSTError, FileExistsError):
    """The output would replace something that is already there."""


class MissingExtraError(WordLlamaSTError, ImportError):
    """A part of this package whose optional dependencies are not installed."""


def reason(error: BaseException) -> str:
    """Another library's error in one line; its kind, where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def require(extra: str, *modules: str) -> None:
    """Check that an extra's modules are installed, without importing them.

    Raises:
        MissingExtraError: If one is not; it says which ``pip install`` mends it.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise MissingExtraError(
            f"This needs {' and '.join(module.replace('_', '-') for module in missing)}: "
            f'pip install "wordllama-st[{extra}]"',
            name=missing[0],
        )
