"""What is kept of a guest that has loaded all it needs: its memory, where to wake it, and what files it may read."""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

STACK, TABLE = "ec262 stack pointer", "ec262 table"
"""The names that ``with_exports`` gives to a module's first global and first table."""

_HEADER_BYTES = 8
_EXPORTS = 7
_TABLE_KIND, _GLOBAL_KIND = 1, 3


class Places(NamedTuple):
    """Addresses in a guest's memory."""

    stack: int
    serve: int
    """The function to call, without arguments."""
    no_arguments: int
    """The empty tuple."""
    notes: int
    """What ``frames.NOTE`` tells of, of ``notes_bytes``."""
    notes_bytes: int


class Image(NamedTuple):
    """A guest between two instructions."""

    places: Places
    memory: memoryview
    files: Mapping[str, memoryview]


def save(image: Image, path: Path) -> None:
    """Write an image to a file. Raises OSError."""
    header = {
        "places": image.places,
        "memory": len(image.memory),
        "files": {name: len(content) for name, content in image.files.items()},
    }
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(_HEADER_BYTES, "little") + text)
        for part in (image.memory, *image.files.values()):
            file.write(part)


def load(path: Path) -> Image:
    """Read an image; its parts are mapped, not copied. Raises OSError, ValueError."""
    with path.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    place = _HEADER_BYTES + int.from_bytes(data[:_HEADER_BYTES], "little")
    header = json.loads(bytes(data[_HEADER_BYTES:place]))
    memory, place = data[place : place + header["memory"]], place + header["memory"]
    files = {}
    for name, size in header["files"].items():
        files[name], place = data[place : place + size], place + size
    return Image(Places(*header["places"]), memory=memory, files=files)


def with_exports(module: bytes) -> bytes:
    """Return a WebAssembly module that also exports its stack pointer and its table of functions.

    A module is eight bytes and then sections: a kind, a size, and so many bytes. Exports are a section of entries,
    their number before them. Raises ValueError if there is no such section.
    """
    place = _HEADER_BYTES
    while place < len(module):
        size, start = _number(module, place + 1)
        if module[place] == _EXPORTS:
            count, entries = _number(module, start)
            added = b"".join(
                len(name).to_bytes() + name.encode() + bytes((kind, 0))
                for name, kind in ((STACK, _GLOBAL_KIND), (TABLE, _TABLE_KIND))
            )
            section = _encoded(count + 2) + module[entries : start + size] + added
            return module[: place + 1] + _encoded(len(section)) + section + module[start + size :]
        place = start + size
    raise ValueError("a WebAssembly module without exports")


def _number(data: bytes, place: int) -> tuple[int, int]:
    """Read a number in LEB128; return it, and the place behind it."""
    number = shift = 0
    while True:
        byte = data[place]
        number |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return number, place


def _encoded(number: int) -> bytes:
    """Return a number in LEB128."""
    data = bytearray()
    while number >= 0x80:  # noqa: PLR2004 - as above
        data.append(number & 0x7F | 0x80)
        number >>= 7
    data.append(number)
    return bytes(data)
