"""The identity of a task's work, which binds the result to it, and the foreman's half of the result's key."""

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
    """What a task's results are bound to: the hash of its work, and a ``nonce`` chosen by its foreman.

    All workers of the task receive the same nonce with the work. It is half of the key. Discovery has the other half,
    and neither half decrypts a result alone.
    """

    work_hash: bytes = attrs.field(validator=[v.min_len(WORK_HASH_BYTES), v.max_len(WORK_HASH_BYTES)])
    nonce: bytes = attrs.field(repr=False, validator=[v.min_len(NONCE_BYTES), v.max_len(NONCE_BYTES)])


def work_hash(work: Work, limits: Limits) -> bytes:
    """Return the SHA-256 of everything on which a task's result may depend: phase, seed, rounding, limits, functions
    and rows.

    The small values come first, in one canonical list with the sizes of functions and rows, so different works never
    have the same bytes. ``limits`` are the foreman's, before a worker lowers them.
    """
    small = [
        work.phase.value,
        work.seed,
        work.round_floats,
        float(limits.cpu_s),  # 5 and 5.0 are the same time but have different canonical bytes
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
