"""Compute messages as an honest foreman sends them."""

from __future__ import annotations

import zlib

from ec262.domain.protocol.messages import Compute
from ec262.domain.work.work import Limits, Phase, Work
from ec262.domain.work.work_hash import NONCE_BYTES, work_hash

NONCE = b"n" * NONCE_BYTES


def compute_message(
    task: str = "t",
    *,
    phase: Phase = Phase.MAP,
    seed: int = 0,
    limits: Limits | None = None,
    round_floats: int = 0,
    functions: bytes = b"",
    rows: bytes = b"[]",
    packed: bool = False,
) -> Compute:
    """Make the message that has a task computed, under its true work hash."""
    limits = limits or Limits()
    work = Work(phase=phase, functions=functions, rows=rows, seed=seed, round_floats=round_floats)
    return Compute(
        task=task,
        work_hash=work_hash(work, limits),
        nonce=NONCE,
        phase=phase,
        seed=seed,
        limits=limits,
        round_floats=round_floats,
        functions=functions,
        unpacked_bytes=len(rows) if packed else 0,
        rows=zlib.compress(rows) if packed else rows,
    )
