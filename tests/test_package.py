"""The package as such: what importing it costs, and what it says where an optional part is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import wordllama_st

HEAVY = ("torch", "sentence_transformers", "transformers", "datasets", "wordllama", "numpy")


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert run(f"import sys, wordllama_st; print([name for name in {HEAVY!r} if name in sys.modules])") == "[]"


def test_the_codebook_needs_no_torch() -> None:
    code = "import sys; from wordllama_st import Codebook; Codebook.from_pretrained('wordllama-l2-supercat-256')"
    assert run(code + "; print([name for name in ('torch', 'wordllama') if name in sys.modules])") == "[]"


@pytest.mark.parametrize("name", wordllama_st.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(wordllama_st, name) is not None
    assert name in dir(wordllama_st)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = wordllama_st.nonsense


def test_functions_keep_their_names_when_their_modules_are_imported_first() -> None:
    code = "import wordllama_st.baking, wordllama_st.registration; from wordllama_st import bake, register"
    assert run(code + "; print(callable(bake), callable(register))") == "True True"


def test_a_missing_extra_says_which_install_mends_it() -> None:
    # An interpreter that cannot find torch, as one is where the extra was not installed.
    hide_torch = (
        "import sys, importlib.abc\n"
        "class Hidden(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'torch': raise ModuleNotFoundError(name)\n"
        "import importlib.util; original = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, package=None: None if name == 'torch' else original(name, package)\n"
        "sys.meta_path.insert(0, Hidden())\n"
    )
    code = (
        hide_torch
        + "import wordllama_st\ntry: wordllama_st.bake\nexcept ImportError as error: print(error)\n"
        + "print(wordllama_st.Codebook.from_pretrained('wordllama-l2-supercat-64'))"
    )
    first, second = run(code).splitlines()
    assert first == 'This needs torch: pip install "wordllama-st[st]"'
    assert second.startswith("Codebook([32000, 64]")
