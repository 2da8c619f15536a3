"""Of a task that was there, exactly what has changed is written."""

from __future__ import annotations

from itertools import compress
from typing import Any

import attrs
import pytest

from ec262.adapters.sql.task_rows import CHANGING_REPLICA, CHANGING_TASK, Groups, changed_rows
from ec262.domain.verification.credibility import Trust
from ec262.domain.verification.task_state import TaskState
from tests.task_cases import open_task


def told(groups: Groups, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Name what rows have changed; their keys are left out."""
    return [dict(zip(compress(names, which), row, strict=False)) for which, rows in groups.items() for row in rows]


@pytest.mark.parametrize(
    ("changes", "written"),
    [
        ({}, []),
        ({"state": TaskState.DISPUTED}, [{"state": "disputed", "escrow": 0}]),
        ({"key": None}, [{"key": None}]),
        ({"digest": b"d" * 32}, [{"digest": b"d" * 32}]),
        ({"deadline": 1e12}, [{"deadline": 1e12}]),
        ({"forgotten_at": 1e12}, [{"forgotten_at": 1e12}]),
        ({"audited": True}, [{"audited": True}]),
        ({"confidence": 0.5}, [{"confidence": 0.5}]),
        ({"released": True}, [{"released": True}]),
        ({"audited": True, "confidence": 0.5}, [{"audited": True, "confidence": 0.5}]),
    ],
)
def test_of_open_task_what_has_changed_is_written(changes: dict[str, Any], written: list[dict[str, Any]]) -> None:
    before = open_task()
    tasks, replicas = changed_rows([(before, attrs.evolve(before, **changes))])
    assert told(tasks, CHANGING_TASK) == written
    assert replicas == {}


@pytest.mark.parametrize(
    ("changes", "escrow"),
    [
        ({"digest": b"d" * 32, "arrival": 0}, None),
        ({"digest": b"d" * 32, "arrival": 0, "paid": True}, 2),
        ({"given_up": True}, None),
        ({"fetched": True}, None),
    ],
)
def test_of_a_replica_what_has_changed_is_written_and_the_escrow_where_it_was_paid(
    changes: dict[str, Any], escrow: int | None
) -> None:
    before = open_task()
    first, *others = before.replicas
    after = attrs.evolve(before, replicas=(attrs.evolve(first, **changes), *others))
    tasks, replicas = changed_rows([(before, after)])
    assert told(replicas, CHANGING_REPLICA) == [changes]
    assert [row[-2:] for rows in replicas.values() for row in rows] == [(before.id, first.worker)]
    assert told(tasks, CHANGING_TASK) == ([] if escrow is None else [{"escrow": escrow}])


def test_how_far_a_worker_was_known_is_two_columns() -> None:
    before = open_task()
    first, *others = before.replicas
    known = attrs.evolve(first, trust=Trust(agreed=3.0, recent=2.0))
    _, replicas = changed_rows([(before, attrs.evolve(before, replicas=(known, *others)))])
    assert told(replicas, CHANGING_REPLICA) == [{"trust_agreed": 3.0, "trust_recent": 2.0}]


def test_a_copy_that_says_the_same_is_not_written() -> None:
    before = open_task()
    after = attrs.evolve(before, replicas=tuple(map(attrs.evolve, before.replicas)))
    assert changed_rows([(before, after)]) == ({}, {})


def test_replicas_that_are_added_are_in_the_escrow() -> None:
    before = open_task()
    more = attrs.evolve(before, replicas=(*before.replicas, attrs.evolve(before.replicas[0], worker="another-worker")))
    tasks, replicas = changed_rows([(before, more)])
    assert (told(tasks, CHANGING_TASK), replicas) == ([{"escrow": 4}], {})
