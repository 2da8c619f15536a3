"""What every storage of the discovery service has to do with what it knows of workers."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from ec262.domain.discovery.accounts import Account
from ec262.domain.discovery.reputation import Reputation
from ec262.domain.discovery.unit_of_work import UnitOfWork, UnitOfWorkFactory
from tests.discovery_town import OTHER_PYTHON, PYTHON, runtime
from tests.stored import at_once

RUNTIME = runtime()
OTHER = runtime(python=OTHER_PYTHON)
SAME_WITH_ANOTHER_NAME = runtime(python=attrs.evolve(PYTHON, version="3.11.9"))


def reputation(worker: str, **known: Any) -> Reputation:
    return attrs.evolve(Reputation(worker=worker, runtime=RUNTIME), **known)


GENERAL = reputation(
    "work1",
    agreed=12.3,
    as_of=1e9 + 0.25,
    dissented=2,
    missed=3,
    audited=4,
    partners=("0a1b2c3d", "0a1b2c3d", "ffffffff"),
    accusers=(("0a1b2c3d", 1e9 + 1 / 3), ("ffffffff", 7.0)),
)
OWN = reputation("work1", foreman="boss1", agreed=1 / 3, recent=0.1, alarm=7.5, contributed=20.0, as_of=1e9)


def test_reputations_are_stored_unchanged(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        assert uow.reputations.find(["work1"], ["boss1"]) == []
        uow.reputations.save([GENERAL, OWN])
        uow.commit()
    with unit_of_work() as uow:
        assert sorted(uow.reputations.find(["work1"], ["boss1"]), key=repr) == sorted([GENERAL, OWN], key=repr)
        changed = attrs.evolve(GENERAL, agreed=0.0, dissented=3, caught_at=1e9 + 1)
        uow.reputations.save([changed])
        assert uow.reputations.find(["work1"], []) == [changed]


def test_uncommitted_reputations_are_lost(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        uow.reputations.save([GENERAL])
        uow.commit()
        uow.reputations.save([attrs.evolve(GENERAL, agreed=99.0, caught_at=5.0), attrs.evolve(OWN, alarmed_at=5.0)])
    with unit_of_work() as uow:
        assert uow.reputations.find(["work1"], ["boss1"]) == [GENERAL]
        assert uow.reputations.caught_since(0, []) == []
        assert uow.reputations.alarms(["boss1"], 0.0) == {}


def test_other_foremens_knowledge_is_not_revealed(unit_of_work: UnitOfWorkFactory) -> None:
    others = attrs.evolve(OWN, foreman="boss2")
    with unit_of_work() as uow:
        uow.reputations.save([GENERAL, OWN, others, reputation("work2")])
        assert uow.reputations.find(["work1", "work1"], []) == [GENERAL]
        for look in (
            uow.reputations.find(["work1"], ["boss2"]),
            uow.reputations.locked([("work1", RUNTIME)], ["boss2"]),
        ):
            assert {each.foreman for each in look} == {"", "boss2"}
        both = uow.reputations.find(["work1", "work2", "nobody"], ["boss1", "boss2"])
        assert len(both) == 4


def test_a_runtime_is_the_same_whatever_people_call_it(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        uow.reputations.save([attrs.evolve(GENERAL, caught_at=1.0), reputation("work1", runtime=OTHER, agreed=5.0)])
        uow.reputations.save([reputation("work1", runtime=SAME_WITH_ANOTHER_NAME, agreed=6.0, caught_at=2.0)])
        uow.commit()
    with unit_of_work() as uow:
        known = {each.runtime: each.agreed for each in uow.reputations.find(["work1"], [])}
        assert known == {RUNTIME: 6.0, OTHER: 5.0}
        (locked,) = uow.reputations.locked([("work1", SAME_WITH_ANOTHER_NAME)], [])
        assert locked.agreed == 6.0
        assert [each.caught_at for each in uow.reputations.caught_since(0, [])] == [2.0]


def test_the_caught_are_found_by_when_it_was(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        uow.reputations.save(
            [reputation("work1", caught_at=5.0), reputation("work2", caught_at=6.0), reputation("work3")]
        )
        uow.reputations.save([reputation("work1", runtime=OTHER, caught_at=7.0)])
        assert {(each.worker, each.caught_at) for each in uow.reputations.caught_since(6.0, [])} == {
            ("work2", 6.0),
            ("work1", 7.0),
        }
        assert uow.reputations.caught_since(7.5, []) == []


def test_a_foreman_is_shown_the_workers_it_caught(unit_of_work: UnitOfWorkFactory) -> None:
    mine, theirs = (reputation("work1", foreman=name, caught_at=5.0) for name in ("boss1", "boss2"))
    with unit_of_work() as uow:
        uow.reputations.save([mine, theirs, reputation("work1"), reputation("work2", caught_at=6.0)])
        uow.commit()
    with unit_of_work() as uow:
        for foremen, found in (([], {"work2"}), (["boss3"], {"work2"}), (["boss1"], {"work1", "work2"})):
            assert {each.worker for each in uow.reputations.caught_since(5.0, foremen)} == found
        assert {each.foreman for each in uow.reputations.caught_since(0.0, ["boss1"])} == {"", "boss1"}


def test_the_last_alarm_of_each_foreman_is_returned(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        assert uow.reputations.alarms(["boss1", "boss2"], 0.0) == {}
        for worker, foreman, at in (("work1", "boss1", 9.0), ("work2", "boss1", 8.0), ("work1", "boss2", 7.0)):
            uow.reputations.save([reputation(worker, foreman=foreman, alarmed_at=at)])
        uow.reputations.save([reputation("work3"), reputation("work3", foreman="boss3")])
        uow.commit()
    with unit_of_work() as uow:
        assert uow.reputations.alarms(["boss1", "boss2", "boss3", "boss4"], 0.0) == {"boss1": 9.0, "boss2": 7.0}
        assert uow.reputations.alarms(["boss1", "boss2"], 9.0) == {"boss1": 9.0}
        assert uow.reputations.alarms(["boss2"], 7.0) == {"boss2": 7.0}
        assert uow.reputations.alarms([], 0.0) == {}


def test_old_reputations_are_forgotten(unit_of_work: UnitOfWorkFactory) -> None:
    kept = [
        reputation("work1", as_of=10.5),
        attrs.evolve(OWN, as_of=11.0),
        reputation("work2", as_of=11.0, caught_at=1.0),
    ]
    old = [reputation("work3", as_of=10.0, caught_at=3.0), reputation("work3", foreman="boss1", as_of=2.0)]
    with unit_of_work() as uow:
        uow.reputations.save([*kept, *old])
        uow.commit()
    with unit_of_work() as uow:
        uow.reputations.forget(10.0)
        uow.commit()
    with unit_of_work() as uow:
        found = uow.reputations.find(["work1", "work2", "work3"], ["boss1"])
        assert sorted(found, key=str) == sorted(kept, key=str)
        assert [each.worker for each in uow.reputations.caught_since(0, [])] == ["work2"]


def test_anchors_are_added_and_removed_once(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        for name in ("anna", "otto"):
            uow.accounts.add(Account(id=name, opened_at=1.0, owner=name), name.encode() * 8)
        for name in ("anna", "anna", "otto"):
            uow.anchors.add(name)
        assert set(uow.anchors.all()) == {"anna", "otto"}
        uow.commit()
        uow.anchors.remove("anna")
    with unit_of_work() as uow:
        assert set(uow.anchors.all()) == {"anna", "otto"}, "that was not committed"
        for _ in range(2):
            uow.anchors.remove("anna")
        assert set(uow.anchors.all()) == {"otto"}
        uow.commit()


def test_nothing_is_locked_for_nobody(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        assert list(uow.reputations.locked([], ["boss1"])) == []
        uow.reputations.save([])


@pytest.mark.parametrize("order", ["the same", "opposite"])
def test_no_lesson_is_lost_by_those_who_learn_at_once(ways_in: list[UnitOfWorkFactory], order: str) -> None:
    """Of workers nobody knew anything of before; each learns of the same ones, named in whatever order."""
    names = [f"work{number}" for number in range(4)]

    def learn(uow: UnitOfWork, step: str) -> None:
        turned = order == "opposite" and int(step[7]) % 2
        known = [(name, RUNTIME) for name in (names[::-1] if turned else names)]
        found = {each.worker: each for each in uow.reputations.locked(known, ["boss1"])}
        before = [found.get(name, reputation(name)) for name in names]
        uow.reputations.save([attrs.evolve(each, missed=each.missed + 1) for each in before])

    at_once(ways_in, learn)
    with ways_in[0]() as uow:
        assert [each.missed for each in uow.reputations.find(names, [])] == [20] * 4


def test_learning_of_new_and_known_workers_at_once_does_not_deadlock(ways_in: list[UnitOfWorkFactory]) -> None:
    """Every unit of work brings workers of its own beside those that all know, before and after them in order."""
    with ways_in[0]() as uow:
        uow.reputations.save([reputation("m-known")])
        uow.commit()

    def learn(uow: UnitOfWork, step: str) -> None:
        turn = step.rpartition("-")[2]
        names = ["m-known", f"a-{turn}", f"z-{turn}"]
        found = uow.reputations.locked([(name, RUNTIME) for name in names], [])
        uow.reputations.save([attrs.evolve(each, missed=each.missed + 1) for each in found])
        if len(found) < len(names):
            new = set(names) - {each.worker for each in found}
            uow.reputations.save([reputation(name, missed=1) for name in new])

    at_once(ways_in, learn)
    with ways_in[0]() as uow:
        workers = ["m-known", *(f"{letter}-{turn}" for letter in "az" for turn in range(5))]
        assert {each.worker: each.missed for each in uow.reputations.find(workers, [])} == {
            worker: 20 if worker == "m-known" else 4 for worker in workers
        }
