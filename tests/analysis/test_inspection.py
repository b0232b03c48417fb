from __future__ import annotations

import argparse
import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers import models as token_models

from wordllama_st.analysis import inspect_table, plot_table
from wordllama_st.analysis.inspection_plot import spectrum
from wordllama_st.cli import inspect as inspect_command
from wordllama_st.codebook import FoundTable, find_table
from wordllama_st.codebook.find import WEIGHT_FILE
from wordllama_st.codebook.token_table import ArrayRows
from wordllama_st.errors import ArgumentError, CodebookNotFoundError, MissingExtraError, OutputExistsError
from wordllama_st.storage.safetensors_file import TENSOR_NAME

DIM = 16


EMBEDDED = "wordllama-l2-supercat-256"


@pytest.fixture(scope="module")
def released() -> FoundTable:
    return find_table(EMBEDDED)


def random_table(rows: int, dim: int = DIM) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((rows, dim)).astype(np.float32)


def found(table: np.ndarray, tokenizer: Tokenizer, dtype: str = "float32") -> FoundTable:
    return FoundTable(ArrayRows(table, dtype), tokenizer, "made up")


def saved(table: np.ndarray, tokenizer: Tokenizer, directory: Path) -> str:
    """A codebook's directory, whose rows nothing has checked."""
    directory.mkdir()
    save_file({TENSOR_NAME: table}, directory / WEIGHT_FILE)
    tokenizer.save(str(directory / "tokenizer.json"))
    return str(directory)


def told(source: str, *arguments: str) -> str:
    parser = argparse.ArgumentParser()
    inspect_command.add_command(parser.add_subparsers())
    options = parser.parse_args(["inspect", source, *arguments])
    with redirect_stdout(StringIO()) as printed:
        options.run(options)
    return printed.getvalue()


def test_released_model(released: FoundTable) -> None:
    report = inspect_table(released, ["▁Paris", "Paris"], num_neighbors=5)
    assert (report.shape, report.dtype, report.bytes) == ((32000, 256), "float16", 32000 * 256 * 2)
    assert (report.tokenizer_kind, report.vocabulary_size, report.special_tokens) == ("BPE", 32000, 3)
    assert report.padding_rows == report.ids_beyond_rows == report.nonfinite_rows == report.zero_rows == 0
    norms = np.linalg.norm(released.rows.block(0, 32000).astype(np.float64), axis=1)
    assert report.norm_quantiles[50] == pytest.approx(np.median(norms))
    assert report.mean_norm == pytest.approx(norms.mean())
    paris, also = report.neighbors
    assert paris.token_id == also.token_id == released.tokenizer.token_to_id("▁Paris")
    assert paris.nearest[0].token == "' France'"
    assert len(paris.nearest) == 5


def test_neighbours_are_those_of_the_whole_table_at_once(released: FoundTable) -> None:
    table = released.rows.block(0, 32000).astype(np.float64)
    table -= table.mean(axis=0)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    cosines = table @ table[9292]
    wanted = [i for i in np.argsort(-cosines).tolist() if i != 9292][:12]
    (near,) = inspect_table(released, ["king"], num_neighbors=12).neighbors
    assert [other.token_id for other in near.nearest] == wanted
    assert [other.cosine for other in near.nearest] == pytest.approx(cosines[wanted].tolist(), abs=1e-4)


def test_odd_rows_are_counted(tokenizer: Tokenizer) -> None:
    count = tokenizer.get_vocab_size()
    table = random_table(count + 3)
    table[5], table[7], table[8] = 0, table[6], table[6]
    table[10, 3], table[11, 0], table[count] = np.nan, -np.inf, 0
    report = inspect_table(found(table, tokenizer), [tokenizer.id_to_token(6)], num_neighbors=3)
    assert report.tokenizer_kind == "byte-level BPE"
    assert (report.padding_rows, report.zero_rows, report.duplicate_rows, report.nonfinite_rows) == (3, 1, 2, 2)
    assert report.zero_examples == (repr(tokenizer.decode([5])),)
    assert [near.token_id for near in report.neighbors[0].nearest[:2]] == [7, 8]
    assert report.norm_quantiles[0] == 0
    assert np.isfinite(list(report.norm_quantiles.values())).all()


def test_bfloat16(tokenizer: Tokenizer) -> None:
    bits = (random_table(tokenizer.get_vocab_size()).view(np.uint32) >> 16).astype(np.uint16)
    report = inspect_table(found(bits, tokenizer, "bfloat16"))
    numbers = (bits.astype(np.uint32) << 16).view(np.float32)
    assert report.norm_quantiles[100] == pytest.approx(np.linalg.norm(numbers, axis=1).max(), rel=1e-5)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_norms_neither_overflow_nor_vanish(tokenizer: Tokenizer, size: float) -> None:
    table = random_table(tokenizer.get_vocab_size()) * np.float32(size)
    report = inspect_table(found(table, tokenizer))
    assert report.mean_norm == pytest.approx(np.linalg.norm(table.astype(np.float64), axis=1).mean())
    assert report.zero_rows == report.nonfinite_rows == 0


def test_nothing_finite(tokenizer: Tokenizer, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    table = np.full((tokenizer.get_vocab_size(), 2), np.nan, dtype=np.float32)
    source, written = saved(table, tokenizer, tmp_path / "codebook"), tmp_path / "nan.json"
    shown = told(source, "--json", str(written), "--plot", str(tmp_path / "nan.png"))
    report = json.loads(written.read_text(encoding="utf-8"))
    assert report["norm_quantiles"] == {}
    assert report["mean_norm"] is report["anisotropy"] is None
    assert "no token has a row" in shown


def test_ids_beyond_the_rows(tokenizer: Tokenizer) -> None:
    table = found(random_table(300), tokenizer)
    assert inspect_table(table).ids_beyond_rows == tokenizer.get_vocab_size() - 300
    with pytest.raises(ArgumentError, match="has no row for"):
        inspect_table(table, [tokenizer.id_to_token(400)])


def test_unusable_tokens(released: FoundTable, tokenizer: Tokenizer) -> None:
    with pytest.raises(ArgumentError, match="splits into ' q', 'wx', 'z', 'v'"):
        inspect_table(released, ["qwxzv"])
    with pytest.raises(ArgumentError, match="at least one"):
        inspect_table(released, ["king"], num_neighbors=0)
    table = random_table(tokenizer.get_vocab_size())
    table[5], table[6] = 0, np.inf
    for row, why in ((5, "all zero"), (6, "not finite")):
        with pytest.raises(ArgumentError, match=why):
            inspect_table(found(table, tokenizer), [tokenizer.id_to_token(row)])


def test_unknown_is_no_token() -> None:
    words = Tokenizer(token_models.WordLevel({"[UNK]": 0, "king": 1}, unk_token="[UNK]"))
    table = found(random_table(2), words)
    assert inspect_table(table, ["king"], num_neighbors=9).neighbors[0].nearest[0].token_id == 0
    with pytest.raises(ArgumentError, match="UNK"):
        inspect_table(table, ["queen"])


def test_spectrum_is_that_of_the_covariance(tokenizer: Tokenizer) -> None:
    table = random_table(tokenizer.get_vocab_size()) * np.arange(1, DIM + 1, dtype=np.float32) + 3
    shares, _ = spectrum(inspect_table(found(table, tokenizer)))
    wanted = np.linalg.eigvalsh(np.cov(table.T))[::-1]
    assert shares == pytest.approx(wanted / wanted.sum(), rel=1e-3)


def test_wide_tables_are_folded(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wordllama_st.analysis.inspection_plot.SPECTRUM_COLUMNS", 64)
    rows = tokenizer.get_vocab_size()
    table = random_table(rows, 3) @ random_table(3, 200)
    shares, basis = spectrum(inspect_table(found(table, tokenizer)))
    assert len(shares) == 64
    assert shares[:3].sum() == pytest.approx(1, abs=1e-4)
    assert "200 columns folded into 64" in basis


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG\r\n\x1a\n"), (".svg", b"<?xml"), (".PDF", b"%PDF")])
def test_picture(tokenizer: Tokenizer, tmp_path: Path, suffix: str, magic: bytes) -> None:
    pytest.importorskip("matplotlib")
    table = random_table(tokenizer.get_vocab_size() + 20)
    table[3], table[4] = 0, np.nan
    picture = tmp_path / "new" / f"table{suffix}"
    shown = told(saved(table, tokenizer, tmp_path / "codebook"), "--plot", str(picture))
    assert str(picture) in shown
    assert picture.read_bytes().startswith(magic)
    assert list(picture.parent.iterdir()) == [picture]


def test_picture_of_the_released_model(released: FoundTable, tmp_path: Path) -> None:
    image = pytest.importorskip("matplotlib.image")
    plot_table(inspect_table(released), tmp_path / "table.png")
    pixels = image.imread(tmp_path / "table.png")
    assert pixels.shape[1] > 1500
    assert pixels.std() > 0.05


def test_picture_that_cannot_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(ArgumentError, match=r"\.png, \.svg, \.pdf"):
        told(EMBEDDED, "--plot", str(tmp_path / "table.gif"))
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ArgumentError, match="is a directory"):
        told(EMBEDDED, "--plot", str(tmp_path / "folder.png"))
    monkeypatch.setattr("wordllama_st.errors.find_spec", lambda module: None)
    with pytest.raises(MissingExtraError, match=r"wordllama-st\[plot\]"):
        told(EMBEDDED, "--plot", str(tmp_path / "table.png"))


def test_told(tmp_path: Path) -> None:
    written = tmp_path / "new" / "report.json"
    shown = told(EMBEDDED, "--tokens", "king", "Paris", "--neighbors", "2", "--json", str(written))
    assert "32,000 rows x 256 columns, float16, 16.4 MB" in shown
    assert "nearest to ' Paris'" in shown
    assert shown.splitlines()[-1] == str(written)
    report = json.loads(written.read_text(encoding="utf-8"))
    assert [near["token_id"] for near in report["neighbors"][0]["nearest"]] == [17713, 4088]
    assert report["shape"] == [32000, 256]
    assert report["source"] == EMBEDDED
    with pytest.raises(OutputExistsError, match=r"report\.json already exists"):
        told(EMBEDDED, "--json", str(written))
    told(EMBEDDED, "--json", str(written), "--overwrite")
    assert json.loads(written.read_text(encoding="utf-8"))["neighbors"] == []


def test_source_is_found_as_a_codebook_is(tokenizer: Tokenizer, tmp_path: Path) -> None:
    table = random_table(tokenizer.get_vocab_size())
    source = saved(table, tokenizer, tmp_path / "codebook")
    report = inspect_table(source)
    assert (report.source, report.tensor_name, report.shape) == (source, TENSOR_NAME, table.shape)
    np.testing.assert_array_equal(report.norms, inspect_table(found(table, tokenizer)).norms)
    assert told(source) == f"{report}\n"
    with pytest.raises(CodebookNotFoundError):
        inspect_table(tmp_path / "nowhere")
