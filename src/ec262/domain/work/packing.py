"""Packs rows in zlib's format (RFC 1950), for links that are slower than the packing.

Only work is packed, never a result: equal results must have equal bytes, and zlib's output for equal bytes differs
between builds.
"""

from __future__ import annotations

import zlib

from ec262.domain.errors import ProtocolViolation

LEVEL = 1
"""Packs 60 MB/s per core and reduces canonical text or numbers to 40 %. Higher levels gain a tenth in twice the
time."""

LEAST_BYTES = 16 << 10
"""Packing less is not worth the effort."""

SAMPLE_BYTES = 64 << 10
MOST_OF_SAMPLE = 0.8
"""Rows are packed if a sample of them shrinks to at most this share."""


def pack(data: bytes) -> bytes | None:
    """Return data packed, or None if it is not worth packing."""
    if len(data) < LEAST_BYTES:
        return None
    middle = len(data) // 2
    sample = data[middle : middle + SAMPLE_BYTES]
    if len(zlib.compress(sample, LEVEL)) > MOST_OF_SAMPLE * len(sample):
        return None
    packed = zlib.compress(data, LEVEL)
    return packed if len(packed) < len(data) else None


def unpack(packed: bytes, size: int) -> bytes:
    """Return the ``size`` bytes (at least one) that were packed. Never produces more bytes than that.

    Raises ProtocolViolation if the data is not packed or has another size.
    """
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(packed, size + 1)
    except zlib.error as error:
        raise ProtocolViolation("the rows cannot be unpacked") from error
    if len(data) != size or not unpacker.eof or unpacker.unused_data:
        raise ProtocolViolation(f"the packed rows do not have the announced size of {size} bytes")
    return data
