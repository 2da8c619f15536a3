"""Rows in canonical form, and their maximum size."""

from __future__ import annotations

import attrs

from ec262.domain.errors import JobDefinitionError

MAX_ROW_BYTES = 128 << 20
"""The maximum size of a row in canonical form, key and value together."""


MAX_KEY_BYTES_SHOWN = 200


@attrs.frozen(kw_only=True)
class Row:
    """One row of input, already in canonical form.

    ``key`` is the canonical form of the key; ``data`` is that of the list ``[key, value]``. In the reduce phase, the
    value is the list of the key's values.
    """

    key: bytes
    data: bytes = attrs.field(repr=False)

    @data.validator
    def _can_travel(self, _attribute: object, value: bytes) -> None:
        if len(value) > MAX_ROW_BYTES:
            raise row_too_large(self.key, len(value))


def row_too_large(key: bytes, size: int) -> JobDefinitionError:
    """Return the error for a row of more than ``MAX_ROW_BYTES``; ``key`` is the canonical form of its key."""
    return JobDefinitionError(
        f"the row with key {_shown(key)} is {size >> 20} MiB large, but a worker accepts at most "
        f"{MAX_ROW_BYTES >> 20} MiB: cut the data into smaller rows"
    )


def key_too_large(key: bytes, size: int) -> JobDefinitionError:
    """Return the error for a key whose values exceed ``MAX_ROW_BYTES``; they take at least ``size`` bytes."""
    return JobDefinitionError(
        f"the mapper yielded at least {size >> 20} MiB for the key {_shown(key)}, but a reducer accepts at most "
        f"{MAX_ROW_BYTES >> 20} MiB for one key: yield less, spread the values over several keys, or combine them with "
        "an @ec262.combiner"
    )


def _shown(key: bytes) -> str:
    return key[:MAX_KEY_BYTES_SHOWN].decode("utf-8", "replace")
