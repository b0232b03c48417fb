"""What a file may not make its reader do: read outside the directory, run code, or take memory by its say-so.

Other guards have their tests where the readers' own are: pickles, foreign code and damaged headers of checkpoints in
``tests/codebook/test_bad_input.py``, and of static models in ``tests/static/formats/test_format_errors.py``; tokens and
redirects in ``tests/codebook/test_hub.py``; texts in HTML in ``tests/analysis/test_html_page.py``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hostile_files import TENSOR, edit_json, random_table, write_checkpoint
from tokenizers import Tokenizer

from wordllama_st import Codebook, StaticEncoder, build_model, model_from_pretrained
from wordllama_st.codebook import find_table
from wordllama_st.data.corpus import read_vectors
from wordllama_st.data.documents import read_documents
from wordllama_st.errors import CodebookError, DatasetError, ModelLoadError, WordLlamaSTError
from wordllama_st.static.formats import model2vec, sentence_transformers, wordllama

# No path out of the directory, not by a link either


def write_static(layout: Any) -> Callable[[Path, Tokenizer], None]:
    return lambda directory, tokenizer: layout.write(random_table(tokenizer), directory, card="")


def write_plain_model2vec(directory: Path, tokenizer: Tokenizer) -> None:
    model2vec.write(random_table(tokenizer), directory, card="")
    (directory / "modules.json").unlink()


def write_codebook(directory: Path, tokenizer: Tokenizer) -> None:
    Codebook(torch.from_numpy(random_table(tokenizer).weight), tokenizer).save(directory)


def write_trained_model(directory: Path, tokenizer: Tokenizer) -> None:
    codebook = Codebook(torch.from_numpy(random_table(tokenizer).weight), tokenizer)
    build_model(codebook, dim=2).save_pretrained(str(directory))


def read_checkpoint(directory: Path) -> Codebook:
    return Codebook.from_pretrained(directory, tensor_name=TENSOR)


#: How a model is written and read, and the files of it that are read.
READERS: dict[str, tuple[Callable[[Path, Tokenizer], None], Callable[[Path], object], tuple[str, ...]]] = {
    "sentence-transformers": (
        write_static(sentence_transformers), StaticEncoder.from_pretrained,
        ("modules.json", "config_sentence_transformers.json", "0_StaticEmbedding/model.safetensors",
         "0_StaticEmbedding/tokenizer.json"),
    ),
    "model2vec": (
        write_plain_model2vec, StaticEncoder.from_pretrained, ("config.json", "model.safetensors", "tokenizer.json")
    ),
    "wordllama": (
        write_static(wordllama), StaticEncoder.from_pretrained,
        ("weights/custom_4.safetensors", "tokenizers/tokenizer.json"),
    ),
    "static model as a codebook": (
        write_static(sentence_transformers), Codebook.from_pretrained,
        ("0_StaticEmbedding/model.safetensors", "0_StaticEmbedding/tokenizer.json"),
    ),
    "codebook": (write_codebook, Codebook.load, ("codebook.json", "codebook.safetensors", "tokenizer.json")),
    "checkpoint": (
        write_checkpoint, read_checkpoint, ("model.safetensors.index.json", "1.safetensors", "tokenizer.json")
    ),
    "trained model": (
        write_trained_model, model_from_pretrained,
        ("modules.json", "config_sentence_transformers.json", "0_LLMTokenEmbedding/codebook.safetensors",
         "1_WeightedPool/config.json", "2_Projection/model.safetensors"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", READERS)
def test_a_link_out_of_the_directory_is_not_followed(kind: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    write, read, names = READERS[kind]
    write(tmp_path / "model", tokenizer)
    read(tmp_path / "model")
    for name in names:
        path, elsewhere = tmp_path / "model" / name, tmp_path / "elsewhere"
        shutil.move(path, elsewhere)
        path.symlink_to(elsewhere)
        with pytest.raises(WordLlamaSTError, match=f"{path.name} is a link to {elsewhere}, outside"):
            read(tmp_path / "model")
        path.unlink()
        shutil.move(elsewhere, path)
    read(tmp_path / "model")


def test_a_linked_folder_of_a_model_is_not_followed(tokenizer: Tokenizer, tmp_path: Path) -> None:
    for layout, folder in ((sentence_transformers, "0_StaticEmbedding"), (wordllama, "weights")):
        model, elsewhere = tmp_path / layout.__name__, tmp_path / folder
        layout.write(random_table(tokenizer), model, card="")
        shutil.move(model / folder, elsewhere)
        (model / folder).symlink_to(elsewhere, target_is_directory=True)
        with pytest.raises(ModelLoadError, match="is a link to"):
            StaticEncoder.from_pretrained(model)


def test_links_within_a_cache_of_the_hub_are_followed(tokenizer: Tokenizer, tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "0123", tmp_path / "models--a--b" / "blobs"
    blobs.mkdir(parents=True)
    sentence_transformers.write(random_table(tokenizer), snapshot, card="")
    for number, path in enumerate(sorted(snapshot.rglob("*.*"))):
        if path.is_file():
            shutil.move(path, blobs / str(number))
            path.symlink_to(blobs / str(number))
    assert StaticEncoder.from_pretrained(snapshot).encode("a").shape == (4,)


@pytest.mark.parametrize("folder", ["../elsewhere", "/elsewhere", "1_WeightedPool/../../elsewhere"])
def test_a_trained_model_names_no_folder_outside_its_own(folder: str, codebook: Codebook, tmp_path: Path) -> None:
    build_model(codebook, dim=2).save_pretrained(str(tmp_path / "model"))
    shutil.copytree(tmp_path / "model" / "1_WeightedPool", tmp_path / "elsewhere")
    folder = str(tmp_path / "elsewhere") if folder == "/elsewhere" else folder
    edit_json(tmp_path / "model" / "modules.json", lambda modules: [modules[0], {**modules[1], "path": folder}])
    with pytest.raises(ModelLoadError, match="folder outside the model's"):
        model_from_pretrained(tmp_path / "model")


def test_a_folder_of_documents_is_not_left_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("# A key\n\nThat nobody is to read or to train on.")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "text.md").write_text("# A text\n\nThat everybody may read.")
    (folder / "link.md").symlink_to(tmp_path / "secret.md")
    documents = read_documents(folder)
    assert [document.path for document in documents.documents] == ["text.md"]
    assert [tuple(skipped) for skipped in documents.skipped] == [("link.md", "a link out of the folder, not followed")]


# No code


@pytest.mark.parametrize(
    "kind", ["hostile.Module", "os.system", "wordllama_st.baking.bake", "sentence_transformers.util"]
)
def test_a_trained_model_names_no_class_but_our_modules_and_sentence_transformers(
    kind: str, codebook: Codebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a module would be found: it lies where Python looks for modules."""
    build_model(codebook, dim=2).save_pretrained(str(tmp_path / "model"))
    (tmp_path / "hostile.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\nfrom wordllama_st.modules import Projection as Module\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    edit_json(tmp_path / "model" / "modules.json", lambda modules: [*modules[:2], {**modules[2], "type": kind}])
    with pytest.raises(ModelLoadError, match="neither of wordllama-st nor of sentence-transformers"):
        model_from_pretrained(tmp_path / "model")
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_names_no_code(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Where there is no tokenizer.json, transformers makes one of what there is."""
    write_checkpoint(tmp_path / "model", tokenizer)
    (tmp_path / "model" / "tokenizer.json").unlink()
    (tmp_path / "model" / "vocab.txt").write_text("[UNK]\n[PAD]\n[CLS]\n[SEP]\n[MASK]\na\n")
    (tmp_path / "model" / "config.json").write_text('{"model_type": "bert"}')
    settings = {"tokenizer_class": "Camel", "auto_map": {"AutoTokenizer": ["camel.Camel", "camel.Camel"]}}
    (tmp_path / "model" / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "model" / "camel.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\nfrom transformers import BertTokenizerFast as Camel\n"
    )
    with suppress(CodebookError):
        find_table(tmp_path / "model", tensor_name=TENSOR)
    assert not (tmp_path / "ran").exists()


class _Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("ran", "w")


def test_a_trained_model_has_no_pickles(codebook: Codebook, tmp_path: Path) -> None:
    build_model(codebook, dim=2).save_pretrained(str(tmp_path / "model"))
    folder = tmp_path / "model" / "2_Projection"
    torch.save({"project.weight": torch.ones(2, 32), "project.bias": torch.ones(2)}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelLoadError, match="as a pickle only"):
        model_from_pretrained(tmp_path / "model")


def test_vectors_have_no_pickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("objects.npy", np.array([_Runs()], dtype=object), allow_pickle=True)
    np.savez("archive.npz", np.ones((2, 2)))
    shutil.move("archive.npz", "archive.npy")
    for name in ("objects.npy", "archive.npy"):
        with pytest.raises(DatasetError, match=f"{name} cannot be read as .npy"):
            read_vectors(tmp_path / name)
    assert not (tmp_path / "ran").exists()


# Limits before memory is taken

_IN_A_GIGABYTE = """
import resource, sys
import torch, transformers
from wordllama_st import Codebook
in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**30,) * 2)
{}
"""


def run_in_a_gigabyte(code: str, *arguments: Path) -> str:
    """Run code that prints what it finds, in a process that may take a gigabyte more than it has."""
    command = [sys.executable, "-c", _IN_A_GIGABYTE.format(code), *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout.strip()


@pytest.mark.parametrize(
    ("folder", "key"),
    [("1_WeightedPool", "num_embeddings"), ("2_Projection", "in_features"), ("2_Projection", "out_features")],
)
def test_a_config_does_not_say_how_much_memory_a_module_takes(
    folder: str, key: str, codebook: Codebook, tmp_path: Path
) -> None:
    """Sixteen gigabytes, which many a machine has for a while."""
    build_model(codebook, dim=2).save_pretrained(str(tmp_path))
    edit_json(tmp_path / folder / "config.json", lambda config: config | {key: 2**32})
    with pytest.raises(ModelLoadError, match=rf"{folder} are .* describes .*4294967296"):
        model_from_pretrained(tmp_path)


def test_a_tokenizer_does_not_say_to_what_length_texts_are_padded(tokenizer: Tokenizer, tmp_path: Path) -> None:
    padded = Tokenizer.from_str(tokenizer.to_str())
    padded.enable_padding(length=2**31)
    write_checkpoint(tmp_path / "checkpoint", padded)
    code = f"print(Codebook.from_pretrained(sys.argv[1], tensor_name={TENSOR!r}).tokenizer.encode('a').ids)"
    assert run_in_a_gigabyte(code, tmp_path / "checkpoint") == str(tokenizer.encode("a").ids)


@pytest.mark.parametrize("pattern", [{"String": "a"}, {"Regex": "a"}, {"Regex": "x*"}])
def test_a_normalizer_does_not_make_a_text_a_terabyte(
    pattern: dict[str, str], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    sentence_transformers.write(random_table(tokenizer), tmp_path / "model", card="")
    step = {"type": "Replace", "pattern": pattern, "content": "aa"}
    edit_json(
        tmp_path / "model" / "0_StaticEmbedding" / "tokenizer.json",
        lambda definition: definition | {"normalizer": {"type": "Sequence", "normalizers": [step] * 40}},
    )
    with pytest.raises(ModelLoadError, match=r"its normalizer makes texts 1\.?\d*e\+1\d times as long"):
        StaticEncoder.from_pretrained(tmp_path / "model")
