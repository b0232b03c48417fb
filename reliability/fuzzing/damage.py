"""Ways to damage a file: bytes of any, and places of JSON and of the JSON header of safetensors."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from pathlib import PurePosixPath

#: A module that may not be imported, and paths that may not be opened, because a file names them.
CANARY = "hostile_canary"
INTERESTING = [
    0, -1, 1, 0.5, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 10**400, 1e308, float("inf"), float("nan"), True, None,
    "", "x", "x" * 300, "\0", "\ud800", [], {}, [[]], "../../x", "/etc/passwd", f"{CANARY}.Module",
    f"{CANARY}--{CANARY}.Module",
]  # fmt: skip

Damage = Callable[[bytes, random.Random], bytes]


def damage_bytes(data: bytes, chance: random.Random) -> bytes:
    """Change, drop, repeat or insert a few bytes, most of them near the beginning, where headers are."""
    damaged = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        reach = max(1, chance.choice([8, 64, 400, len(damaged)]))
        place = chance.randrange(min(reach, max(1, len(damaged))))
        kind = chance.randrange(5)
        if kind == 0:
            damaged[place : place + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            del damaged[place : place + chance.choice([1, 8, 1000])]
        elif kind == 2:
            damaged[place:place] = damaged[place : place + chance.choice([1, 8, 100])]
        elif kind == 3:
            value = chance.choice([0, 1, 2**16, 2**31, 2**32 - 1, 2**63, 2**64 - 1])
            damaged[place : place + 8] = struct.pack("<Q", value)
        else:
            del damaged[place:]
    return bytes(damaged)


def damage_anywhere(data: bytes, chance: random.Random) -> bytes:
    """Change a few bytes, wherever they are: in what is long and looks the same all over, such as a character map."""
    damaged = bytearray(data)
    for _ in range(chance.choice([1, 3, 10, 100]) if damaged else 0):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    return bytes(damaged)


def damage_lines(data: bytes, chance: random.Random) -> bytes:
    """Drop, repeat or exchange parts between the separators of lines and tables."""
    separator = chance.choice([b"\n", b",", b"\t", b" ", b'"', b"<", b":"])
    parts = data.split(separator)
    for _ in range(chance.choice([1, 2, 5])):
        place, kind = chance.randrange(len(parts)), chance.randrange(4)
        if kind == 0 and len(parts) > 1:
            del parts[place]
        elif kind == 1:
            parts.insert(place, chance.choice(parts))
        elif kind == 2:
            parts[place] = chance.choice([b"", b'"', b"0", b"9" * 30, b"nan", b"\xff", b"\0", b"\r", "\u2028".encode()])
        else:
            parts[place] *= chance.choice([2, 50]) if len(parts[place]) < 1000 else 1
    return separator.join(parts)


def damage_json(data: bytes, chance: random.Random) -> bytes:
    """Put something that does not belong there in a place of a JSON document."""
    document = json.loads(data)
    node = document
    for _ in range(chance.randrange(1, 6)):
        if isinstance(node, dict) and node:
            key: object = chance.choice(sorted(node))
        elif isinstance(node, list) and node:
            key = chance.randrange(len(node))
        else:
            break
        child = node[key]
        if not isinstance(child, (dict, list)) or chance.random() < 0.3:
            kind = chance.randrange(3)
            if kind == 0 and isinstance(node, dict):
                node[chance.choice(["", "x", "/etc/passwd", str(key) * 2])] = node.pop(key)
            elif kind == 1:
                del node[key]
            else:
                node[key] = chance.choice(INTERESTING)
            break
        node = child
    return json.dumps(document).encode()


def damage_json_line(data: bytes, chance: random.Random) -> bytes:
    """Damage one of the JSON documents that a file has a line each of."""
    lines = data.split(b"\n")
    place = chance.randrange(len(lines))
    lines[place] = damage_json(lines[place], chance)
    return b"\n".join(lines)


def damage_header(data: bytes, chance: random.Random) -> bytes:
    """Damage the JSON in a safetensors file and keep its length right, so that the rest is looked at too."""
    (length,) = struct.unpack("<Q", data[:8])
    header = damage_json(data[8 : 8 + length], chance)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


#: What else is done to a file than to damage its bytes, by the ending of its name.
_BY_ENDING: dict[str, tuple[Damage, ...]] = {
    ".safetensors": (damage_header, damage_bytes),
    ".json": (damage_json, damage_json, damage_bytes),
    ".jsonl": (damage_json_line, damage_lines),
    ".gguf": (damage_bytes, damage_bytes),
    ".model": (damage_bytes, damage_anywhere),
}
_OF_TEXT = (damage_lines, damage_bytes)


def damage(name: str, data: bytes, chance: random.Random) -> bytes:
    """Damage the content of a file in one way, or in several."""
    ways = (damage_bytes, damage_anywhere, *_BY_ENDING.get(PurePosixPath(name).suffix, _OF_TEXT))
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        try:
            data = chance.choice(ways)(data, chance)
        except (ValueError, struct.error, RecursionError):  # no longer what it was
            data = damage_bytes(data, chance)
    return data
