"""What a task is at, in memory that its process shares with the worker: for when it can no longer tell by itself, since
it was killed, or hangs in native code.

The worker reads what a stranger may have written: a few bytes that are shown to people, and nothing more.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial

from ec262.domain.errors import NotCanonical, key_text
from ec262.domain.values import canonical
from ec262.domain.work.roles import ROLES

_FORMAT = struct.Struct("12p244p")
"""The function's name and the row's key in canonical form, each after its length, cut where it is longer."""

NOTE_BYTES = _FORMAT.size
_MAX_KEY_BYTES = 243

Note = Callable[[bytes, bytes], None]
"""Takes a function's name and a row's key, canonical; an empty one means that there is no further row."""


def note_in(memory: memoryview) -> Note:
    """Return what writes to memory of ``NOTE_BYTES``. It is called for each row: 0.2 us."""
    return partial(_FORMAT.pack_into, memory, 0)


def read_note(data: bytes) -> str:
    """Return what a note says: "in the mapper at the row with key 'x'"; nothing if it is none. ``data`` has
    ``NOTE_BYTES``. The text is a stranger's."""
    name, key = _FORMAT.unpack(data)
    function = name.decode("ascii", "replace")
    if not name:
        return "while the job was loaded"
    if function not in ROLES:
        return ""
    return f"in the {function} at the row with key {_key(key)}" if key else f"after the {function}'s last row"


def _key(key: bytes) -> str:
    try:
        return key_text(canonical.decode(key))
    except NotCanonical:  # as when it was cut
        return key.decode(errors="replace") + ("..." if len(key) == _MAX_KEY_BYTES else "")
