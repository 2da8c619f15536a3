"""The identity of a task's work, on which foreman, worker and result must agree, and the foreman's half of its key."""

from __future__ import annotations

import hashlib

import attrs
from attrs import validators as v

from ec262.domain.values import canonical
from ec262.domain.work.work import Limits, Work

WORK_HASH_BYTES = 32
"""SHA-256."""

NONCE_BYTES = 32

DOMAIN = b"ec262 work hash 1\n"


@attrs.frozen(kw_only=True)
class WorkBinding:
    """What the results of a task are bound to: the hash of its work, and the ``nonce`` that its foreman drew.

    All workers of the task get the same nonce with the work. It is half of the key: discovery has the other half, and
    neither opens a result alone.
    """

    work_hash: bytes = attrs.field(validator=[v.min_len(WORK_HASH_BYTES), v.max_len(WORK_HASH_BYTES)])
    nonce: bytes = attrs.field(repr=False, validator=[v.min_len(NONCE_BYTES), v.max_len(NONCE_BYTES)])


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
