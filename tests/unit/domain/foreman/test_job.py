from __future__ import annotations

import pytest

from ec262.domain.errors import JobDefinitionError
from ec262.domain.foreman.data.row import Row
from ec262.domain.foreman.data.row_spool import held
from ec262.domain.foreman.job.job_definition import Job
from ec262.domain.protocol.requirement import Requirement
from ec262.domain.work.runtime import PythonTag
from ec262.domain.work.work import Computed, Limits, Phase, TaskName, Work


def test_a_task_is_named_for_people_from_one_on() -> None:
    assert str(TaskName(phase=Phase.MAP, index=0)) == "map task 1"
    assert str(TaskName(phase=Phase.REDUCE, index=11)) == "reduce task 12"
    with pytest.raises(ValueError, match="index"):
        TaskName(phase=Phase.MAP, index=-1)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_has_63_bits(seed: int) -> None:
    with pytest.raises(ValueError, match="seed"):
        Work(phase=Phase.MAP, functions=b"", rows=b"", seed=seed)


@pytest.mark.parametrize("name", ["cpu_s", "wall_s", "memory_bytes", "output_bytes", "log_bytes"])
def test_limits_are_positive_and_are_capped_one_by_one(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Limits(**{name: 0})
    generous, strict = Limits(**{name: 10_000}), Limits(**{name: 10})
    assert generous.capped_by(strict) == strict
    assert strict.capped_by(generous) == strict


def test_data_stays_out_of_reprs() -> None:
    tag = PythonTag(implementation="cpython", magic=1, cloudpickle="3", version="3.11")
    values = [
        Row(key=b"k", data=b"SECRET"),
        Work(phase=Phase.MAP, functions=b"SECRET", rows=b"SECRET", seed=1),
        Computed(outcome=b"SECRET", log=b"SECRET"),
        Job(functions=b"SECRET", rows=held([Row(key=b"SECRET", data=b"SECRET")]), requirement=Requirement(python=tag)),
    ]
    assert not [value for value in values if "SECRET" in repr(value)]


def test_a_row_that_is_too_large_to_travel_names_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ec262.domain.foreman.data.row.MAX_ROW_BYTES", 1 << 20)
    assert Row(key=b'"k"', data=b"x" * (1 << 20))
    with pytest.raises(JobDefinitionError, match=r'the row with key "k" is 1 MiB large'):
        Row(key=b'"k"', data=b"x" * ((1 << 20) + 1))
