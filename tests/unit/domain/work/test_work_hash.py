"""The identity of a task's work: equal for equal work, different for any other, and always the same bytes."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from ec262.domain.work.work import Limits, Phase, Work
from ec262.domain.work.work_hash import WORK_HASH_BYTES, work_hash

WORK = Work(phase=Phase.MAP, functions=b"functions", rows=b"[[1,2]]", seed=7, round_floats=12)
LIMITS = Limits(cpu_s=5, wall_s=6.5, memory_bytes=1 << 20, output_bytes=1000, log_bytes=10)


def test_its_format_stays() -> None:
    """Foreman and worker may be of different releases."""
    assert work_hash(WORK, LIMITS).hex() == "63002e9c404295c37248c1231eecc3a8d778d878f53c3eaa4cac5aca11c7d170"


def test_equal_work_has_equal_hashes() -> None:
    assert work_hash(attrs.evolve(WORK), attrs.evolve(LIMITS, cpu_s=5.0)) == work_hash(WORK, LIMITS)
    assert len(work_hash(WORK, LIMITS)) == WORK_HASH_BYTES


@pytest.mark.parametrize(
    "change",
    [
        {"phase": Phase.REDUCE},
        {"functions": b"functionss"},
        {"rows": b"[[1,3]]"},
        {"seed": 8},
        {"round_floats": 0},
        {"functions": b"functions[", "rows": b"[1,2]]"},
    ],
)
def test_any_other_work_has_another_hash(change: dict[str, Any]) -> None:
    assert work_hash(attrs.evolve(WORK, **change), LIMITS) != work_hash(WORK, LIMITS)


@pytest.mark.parametrize("limit", [field.name for field in attrs.fields(Limits)])
def test_other_limits_are_other_work(limit: str) -> None:
    other = attrs.evolve(LIMITS, **{limit: getattr(LIMITS, limit) + 1})
    assert work_hash(WORK, other) != work_hash(WORK, LIMITS)
