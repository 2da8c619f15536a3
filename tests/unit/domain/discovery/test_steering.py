from __future__ import annotations

import attrs

from ec262.domain.discovery.pool.pool import Lot, Pool
from ec262.domain.discovery.pool.steering import House, are_few, fair, independence, steered
from tests.discovery_town import REQUIREMENT
from tests.unit.domain.discovery.test_pool import member

LOT = Lot(requirement=REQUIREMENT, foreman="boss", replicas=2, tasks=9)
EIGHT = tuple([member(f"w{number}", owner=f"o{number}", block=f"b{number}") for number in range(8)])
POOL = Pool(members=EIGHT, busy={})
BOSS = House(owner="boss", block="boss's")


def is_steered(pool: Pool, drawable: int = 8, lot: Lot = LOT) -> bool:
    return steered(pool, lot, pool.members[:drawable], [pool.members[:2]])[0]


def test_a_draw_is_open_only_if_most_of_the_pool_can_be_drawn() -> None:
    assert not is_steered(POOL, 8)
    assert not is_steered(POOL, 6)
    assert is_steered(POOL, 5)
    busy = Pool(members=POOL.members, busy={"w7": 1, "w6": 1})
    assert not is_steered(busy)
    assert is_steered(Pool(members=POOL.members, busy={"w7": 1, "w6": 1, "w5": 2})), "few have a free slot"


def test_a_draw_that_avoids_anybody_is_not_open() -> None:
    assert is_steered(POOL, lot=attrs.evolve(LOT, avoid=frozenset({"w7"})))


def test_teams_of_a_batch_take_slots_from_those_after_them() -> None:
    teams = [EIGHT[0:2], EIGHT[2:4], EIGHT[4:6]]
    assert steered(POOL, LOT, EIGHT, teams) == (False, False, True)
    assert fair(POOL, LOT, EIGHT, teams) == teams[:2]


def test_many_accounts_of_one_block_count_as_one() -> None:
    crowd = [member(f"x{number}", owner=f"x{number}", block="one") for number in range(100)]
    pool = Pool(members=(*crowd, *EIGHT[:4]), busy={})
    assert are_few(pool, crowd, EIGHT[:3])
    assert not are_few(pool, crowd, EIGHT[:2])
    assert are_few(pool, crowd[:50], EIGHT[:2]), "half the owners of a block are half of it"
    assert not are_few(pool, crowd[:50], EIGHT[:1])
    assert is_steered(pool, 100)
    assert not is_steered(Pool(members=(*EIGHT[:4], *crowd), busy={}), 4), "nor can a crowd keep others from learning"


def test_only_workers_of_one_runtime_class_are_drawn_together() -> None:
    others = tuple(
        [member(f"w{number}", owner=f"o{number}", block=f"b{number}", machine="arm64") for number in range(5, 8)]
    )
    pool = Pool(members=(*EIGHT[:5], *others), busy={})
    assert steered(pool, LOT, pool.members, [EIGHT[:2], others[:2]]) == (True, True)


def test_the_foreman_and_who_has_the_task_are_left_out() -> None:
    lot = Lot(requirement=REQUIREMENT, foreman="w0", replicas=1, tasks=1, company=frozenset({"w1"}))
    assert not steered(POOL, lot, EIGHT[2:7], [EIGHT[2:3]])[0]
    assert steered(POOL, lot, EIGHT[2:6], [EIGHT[2:3]])[0]
    assert steered(POOL, lot, EIGHT, []) == ()


def test_agreement_is_worth_the_less_the_more_workers_have_to_do_with_each_other() -> None:
    me, stranger = House(owner="me", block="here"), House(owner="stranger", block="there")
    neighbor, myself = House(owner="neighbor", block="here"), House(owner="me", block="there")
    assert independence(me, {"w": stranger}, BOSS, ()) == 1.0
    assert independence(me, {"w": neighbor}, BOSS, ()) == 0.25
    assert independence(me, {"w": myself}, BOSS, ()) == 0.0
    assert independence(me, {"w": neighbor, "v": stranger}, BOSS, ()) == 1.0
    assert independence(me, {}, BOSS, ()) == 0.0
    assert independence(me, {"w": stranger}, BOSS, (stranger.tag,) * 3) == 0.125
    assert independence(me, {"w": House(owner="boss", block="x")}, BOSS, ()) == 0.0
    assert independence(me, {"w": House(owner="x", block="boss's")}, BOSS, ()) == 0.0
    assert independence(House(owner="boss", block="x"), {"w": stranger}, BOSS, ()) == 0.0
    assert independence(me, {"w": House(owner="x")}, House(owner="boss"), ()) == 1.0, "nobody knows where they live"
