"""Rows that travel packed: zlib's format (RFC 1950), where the link is what takes the time.

Only the work is packed, never a result: equal results have to be equal bytes, and what zlib makes of equal bytes
differs between its builds.
"""

from __future__ import annotations

import zlib

from ec262.domain.errors import ProtocolViolation

LEVEL = 1
"""Packs 60 MB/s a core, to 40 % of canonical text or numbers; higher levels gain a tenth and take twice the time."""

LEAST_BYTES = 16 << 10
"""Less is not worth the trouble: it is sent in a moment."""

SAMPLE_BYTES = 64 << 10
MOST_OF_SAMPLE = 0.8
"""Rows are packed if it makes this of a sample of them, or less."""


def pack(data: bytes) -> bytes | None:
    """Return data packed, None if that is not worth it."""
    if len(data) < LEAST_BYTES:
        return None
    middle = len(data) // 2
    sample = data[middle : middle + SAMPLE_BYTES]
    if len(zlib.compress(sample, LEVEL)) > MOST_OF_SAMPLE * len(sample):
        return None
    packed = zlib.compress(data, LEVEL)
    return packed if len(packed) < len(data) else None


def unpack(packed: bytes, size: int) -> bytes:
    """Return the ``size`` bytes, at least one, that were packed; no more are ever made of them.

    Raises ProtocolViolation if they are not packed data, or not of so many bytes.
    """
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(packed, size + 1)
    except zlib.error as error:
        raise ProtocolViolation("rows that cannot be unpacked") from error
    if len(data) != size or not unpacker.eof or unpacker.unused_data:
        raise ProtocolViolation(f"packed rows that are not the {size} bytes that were announced")
    return data
