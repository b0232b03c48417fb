"""A checkpoint's tokenizer, whichever files it is kept in.

Where there is no tokenizer.json, transformers makes a tokenizer of what there is. The result is checked: it may lack
the vocabulary, where a class is named that looks for a file of another name; and some classes ignore how a
SentencePiece model normalises a text. Either would silently give other tokens than those the model was trained on.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, normalizers

from wordllama_st.codebook.checkpoint import Checkpoint
from wordllama_st.errors import CodebookError, MissingExtraError, WordLlamaSTError, reason, require
from wordllama_st.storage.charsmap import is_sound_charsmap
from wordllama_st.storage.definition import LONGEST_PIECE, component_steps
from wordllama_st.storage.tokenizer import TOKENIZER_FILE, load_tokenizer, no_tokenizer, panics_are_errors

#: The files of tokenizers that no tokenizer.json was written for: SentencePiece, tiktoken, BPE and WordPiece ones.
_SENTENCEPIECE = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "sentencepiece.model", "spm.model")
_VOCABULARIES = (*_SENTENCEPIECE, "vocab.json", "vocab.txt")
_BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt")
#: SentencePiece's space.
SPACE = "\u2581"
_TIKTOKEN = re.compile(rb"[A-Za-z0-9+/]+=* \d+\s")
#: What a tokenizer is tried on: scripts, spaces, digits, what NFKC changes, what is unknown.
_PROBES = (
    "The quick brown fox jumps over the lazy dog.",
    "  leading and  double   spaces and trailing ",
    "It's 1234567 and 3.14; x += y[0]\n\tIndented\r\n\r\nline",
    "naïve café, Straße, \ufb01ne \uff21\uff22",
    "Привет, мир! 日本語のテキスト 한국어 العربية हिन्दी",
    "emoji 🦙👩\u200d👩\u200d👧🙂🙂 and more",
)
#: The steps towards pieces that say no more than a SentencePiece model does, by the names of the tokenizers library.
_PLAIN_STEPS = {"Precompiled", "Prepend", "Strip", "Metaspace", "WhitespaceSplit"}
_PLAIN_PATTERNS = ({"String": " "}, {"Regex": " {2,}"})


def find_tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    """Read a checkpoint's tokenizer.json; where there is none, let transformers convert what there is.

    Raises CodebookNotFoundError if it has no tokenizer, CodebookError if that cannot be read or converted, and
    MissingExtraError if converting it takes an extra that is not installed.
    """
    path = checkpoint.path(TOKENIZER_FILE)
    if path is not None:
        return read_tokenizer(path)
    vocabulary = next((path for name in _VOCABULARIES if (path := checkpoint.path(name)) is not None), None)
    if vocabulary is None:
        raise no_tokenizer(checkpoint.name)
    for name in (*_VOCABULARIES, *_BESIDE):  # of the Hub, fetched to lie beside the vocabulary
        checkpoint.path(name)
    if vocabulary.suffix != ".model":
        require("st", "transformers")
        return _converted(vocabulary, _entries(vocabulary))
    content = vocabulary.read_bytes()
    if _TIKTOKEN.match(content):
        require("sentencepiece", "transformers", "tiktoken")
        return _converted(vocabulary, len(content.splitlines()))
    require("sentencepiece", "transformers", "sentencepiece")
    model = _read_sentencepiece(vocabulary, content)
    return _as_sentencepiece(_converted(vocabulary, len(model.pieces)), model, vocabulary)


def read_tokenizer(path: Path) -> Tokenizer:
    """Read a tokenizer.json, and try it; the errors are those of :func:`find_tokenizer`."""
    tokenizer = load_tokenizer(path)
    try_tokenizer(tokenizer, path)
    return tokenizer


def try_tokenizer(tokenizer: Tokenizer, path: Path) -> None:
    """Try a tokenizer on texts of all kinds: some faults show only then. It neither pads nor truncates afterwards."""
    tokenizer.no_truncation()
    tokenizer.no_padding()  # to lengths that no memory has
    try:
        with panics_are_errors():
            for text in _PROBES:
                tokenizer.encode(text, add_special_tokens=False)
    except Exception as error:  # tokenizers raises bare Exception
        said = reason(error).rstrip(".")
        raise CodebookError(f"{path} is no tokenizer that can read every text: {said}. Download it again.") from error


def _entries(path: Path) -> int:
    """How many tokens a vocab.json or vocab.txt has."""
    try:
        text = path.read_text(encoding="utf-8")
        tokens = json.loads(text) if path.suffix == ".json" else set(text.split("\n")) - {""}
    except (ValueError, RecursionError) as error:
        raise _damaged(path, reason(error)) from error
    if not isinstance(tokens, (dict, set)) or not tokens:
        raise _damaged(path, "it is no vocabulary.")
    return len(tokens)


def _converted(vocabulary: Path, entries: int) -> Tokenizer:
    """What transformers makes of a vocabulary of ``entries`` tokens."""
    import transformers

    read = transformers.AutoTokenizer.from_pretrained
    try:
        with panics_are_errors():
            tokenizer = read(vocabulary.parent, trust_remote_code=False, local_files_only=True)
        backend = getattr(tokenizer, "backend_tokenizer", None)
        kind = type(tokenizer).__name__
        if not isinstance(backend, Tokenizer):
            raise ValueError(f"a {kind} is none that the tokenizers library can run")
        if (known := backend.get_vocab_size()) < entries:
            found = f"a {kind} takes {known:,} of its {entries:,} tokens. It may look for a file of another name"
            raise ValueError(f"{found}; tokenizer_class in tokenizer_config.json names the kind of tokenizer")
        try_tokenizer(backend, vocabulary)
    except WordLlamaSTError:
        raise
    except Exception as error:  # a tokenizer can be wrong in as many ways as transformers has tokenizers
        said = reason(error).rstrip(".")
        raise CodebookError(
            f"{vocabulary.parent} has no {TOKENIZER_FILE}, and transformers {transformers.__version__} cannot make one "
            f"of its {vocabulary.name}: {said}. Write one with the code that the model comes with."
        ) from error
    return backend


def _read_sentencepiece(path: Path, content: bytes) -> Any:
    """Parse and check a SentencePiece model."""
    try:
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]
        from sentencepiece import sentencepiece_model_pb2
    except ImportError as error:
        raise MissingExtraError('This needs protobuf: pip install "wordllama-st[sentencepiece]"') from error
    model: Any = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined, unused-ignore]
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise _damaged(path, "it is neither a SentencePiece nor a tiktoken model.") from error
    if not model.pieces or not model.HasField("trainer_spec"):
        raise _damaged(path, "it is no whole SentencePiece model.")
    tokens = [*(piece.piece for piece in model.pieces), model.trainer_spec.unk_piece]
    if any(isinstance(token, bytes) for token in tokens):  # as protobuf gives what is not UTF-8
        raise _damaged(path, "it has a token that is not UTF-8.")
    if (longest := max(len(token.encode()) for token in tokens)) > LONGEST_PIECE:
        raise _damaged(path, f"it has a token of {longest:,} bytes.")
    charsmap = model.normalizer_spec.precompiled_charsmap
    if charsmap and not is_sound_charsmap(charsmap):
        raise _damaged(path, "its precompiled_charsmap is damaged.")
    return model


def _as_sentencepiece(tokenizer: Tokenizer, model: Any, path: Path) -> Tokenizer:
    """transformers' conversion, or one by the model's own rules where the former gives other tokens.

    A conversion that does more to a text than a SentencePiece model can say, such as lowercasing, is left alone.
    """
    from sentencepiece import SentencePieceProcessor

    try:
        original = SentencePieceProcessor(model_proto=model.SerializeToString())
        pieces = [original.encode(text) for text in _PROBES]
    except Exception as error:  # sentencepiece raises RuntimeError, or what its bindings make of what C++ throws
        raise _damaged(path, f"SentencePiece says {reason(error)}") from error
    definition = json.loads(tokenizer.to_str())
    unknown = definition["model"].get("unk_id")
    if unknown is None:
        unknown = tokenizer.token_to_id(definition["model"].get("unk_token") or model.trainer_spec.unk_piece)
    # By their names: families number them in their own ways.
    ids = [unknown if piece.type == piece.UNKNOWN else tokenizer.token_to_id(piece.piece) for piece in model.pieces]
    expected = [[ids[index] for index in probe] for probe in pieces]

    def differing(candidate: Tokenizer) -> list[str]:
        # One by one: a batch would start threads, and a process with threads is not to be forked.
        encoded = [candidate.encode(text, add_special_tokens=False).ids for text in _PROBES]
        return [text for text, ids, right in zip(_PROBES, encoded, expected, strict=True) if ids != right]

    tokenizer.no_truncation()
    tokenizer.no_padding()
    if not differing(tokenizer) or not _is_plain(definition):
        return tokenizer
    rebuilt = _by_its_rules(definition, model)
    if texts := differing(rebuilt):
        raise CodebookError(
            f"{path.parent} has no {TOKENIZER_FILE}, and what can be made of its {path.name} gives other tokens than "
            f"SentencePiece does, as for {texts[0]!r}. Write one with the code that the model comes with."
        )
    return rebuilt


def _is_plain(definition: dict[str, Any]) -> bool:
    """Whether a tokenizer does no more to a text than a SentencePiece model can say."""
    steps = component_steps(definition["normalizer"], definition["pre_tokenizer"])
    return all(step["type"] in _PLAIN_STEPS or step.get("pattern") in _PLAIN_PATTERNS for step in steps)


def _by_its_rules(definition: dict[str, Any], model: Any) -> Tokenizer:
    """A tokenizer of the same ids, which treats a text as a SentencePiece model says."""
    spec = model.normalizer_spec
    definition["model"]["byte_fallback"] = model.trainer_spec.byte_fallback
    if definition["model"]["type"] == "BPE":
        definition["model"] |= {"unk_token": model.trainer_spec.unk_piece, "fuse_unk": True}
    rebuilt = Tokenizer.from_str(json.dumps(definition | {"normalizer": None, "pre_tokenizer": None}))
    steps = normalizer_steps(spec.precompiled_charsmap, spec.remove_extra_whitespaces)
    if spec.add_dummy_prefix:
        steps.append(normalizers.Prepend(SPACE))
    rebuilt.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])
    return rebuilt


def _damaged(path: Path, fault: str) -> CodebookError:
    return CodebookError(f"{path} cannot be used: {fault} Download it again, or put its {TOKENIZER_FILE} there.")


def normalizer_steps(charsmap: bytes, remove_extra_whitespaces: bool) -> list[Any]:
    """The normalizers that do to a text what a SentencePiece model's normalizer_spec says, up to its spaces."""
    steps: list[Any] = [normalizers.Precompiled(charsmap)] if charsmap else []
    if remove_extra_whitespaces:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    return steps
