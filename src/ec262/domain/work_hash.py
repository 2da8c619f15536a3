"""The identity of a task's work, on which foreman, worker and result have to agree."""

from __future__ import annotations

import hashlib

from ec262.domain import canonical
from ec262.domain.job import Limits, Work

WORK_HASH_BYTES = 32
"""SHA-256."""

DOMAIN = b"ec262 work hash 1\n"


def work_hash(work: Work, limits: Limits) -> bytes:
    """Return the SHA-256 of everything that a task's result may depend on: phase, seed, rounding, limits, functions and
    rows.

    The small values come first, as one canonical list that also holds the sizes of functions and rows, so no two
    different works have the same bytes. ``limits`` are those that the foreman asks for, before a worker lowers them.
    """
    small = [
        work.phase.value,
        work.seed,
        work.round_floats,
        float(limits.cpu_s),  # 5 and 5.0 are the same time, and have different canonical bytes
        float(limits.wall_s),
        limits.memory_bytes,
        limits.output_bytes,
        limits.log_bytes,
        len(work.functions),
        len(work.rows),
    ]
    digest = hashlib.sha256(DOMAIN)
    digest.update(canonical.encode(small))
    digest.update(work.functions)
    digest.update(work.rows)
    return digest.digest()
