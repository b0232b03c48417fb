"""Optional dependencies: which extra brings what, and what to say when it is missing."""

from __future__ import annotations

from importlib.util import find_spec

from wordllama_st.errors import MissingExtraError


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
