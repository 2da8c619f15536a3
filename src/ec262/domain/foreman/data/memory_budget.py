"""How much memory a job's data may take in the foreman, and how it is divided."""

from __future__ import annotations

import re

import attrs

from ec262.domain.foreman.job.plan import PARTITION_BYTES

UNITS = {
    "": 1,
    "B": 1,
    **{prefix + "B": 1000**power for power, prefix in enumerate("KMGT", 1)},
    **{prefix + "IB": 1024**power for power, prefix in enumerate("KMGT", 1)},
    **{prefix: 1024**power for power, prefix in enumerate("KMGT", 1)},
}
"""Common units, in capitals: ``256MB`` is 256 million bytes, ``256MiB`` and ``256M`` are 256 times 2**20."""

LEAST_BYTES = 16 << 20
"""The smallest sensible budget: a single portion of a result may already take more."""


def parse_bytes(text: str) -> int:
    """Return the number of bytes of a text such as ``256MB``, ``1.5 GiB`` or ``1000000``. Raises ValueError."""
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([A-Za-z]{0,3})", text.strip())
    if match is None or match[2].upper() not in UNITS:
        raise ValueError(f"{text!r} is not an amount of memory: write it as, for example, 256MB or 1.5GiB")
    return int(float(match[1]) * UNITS[match[2].upper()])


@attrs.frozen
class MemoryBudget:
    """An amount of memory in bytes, and its shares.

    They leave room, because decoded values take several times their canonical bytes.
    """

    total_bytes: int = attrs.field(default=512 * 1000**2, validator=attrs.validators.gt(0))

    @property
    def groups_bytes(self) -> int:
        """The output of tasks that is not on disk yet."""
        return self.total_bytes // 4

    @property
    def load_bytes(self) -> int:
        """The pairs that are grouped at a time: decoded, they take up to ten times as much."""
        return self.total_bytes // 32

    @property
    def rows_bytes(self) -> int:
        """The rows that are not on disk yet."""
        return self.total_bytes // 4

    @property
    def travel_bytes(self) -> int:
        """The tasks in transit to workers; the results in transit to the foreman may take the same amount."""
        return self.total_bytes // 8

    @property
    def partition_bytes(self) -> int:
        """The rows of one task, unless a single row is larger."""
        return max(1, min(PARTITION_BYTES, self.total_bytes // 16))


DEFAULT_BUDGET = MemoryBudget()
