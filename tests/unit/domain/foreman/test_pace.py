from __future__ import annotations

from ec262.domain.foreman.run.pace import MAX_PAUSE_S, MIN_PAUSE_S, SHARE, Pace


def test_a_pause_is_a_share_of_what_tasks_take_on_average() -> None:
    pace = Pace()
    assert pace.pause_s == MIN_PAUSE_S
    pace.took(10)
    pace.took(20)
    assert pace.pause_s == SHARE * 15


def test_a_pause_has_its_limits() -> None:
    quick, slow = Pace(), Pace()
    quick.took(0.001)
    slow.took(1e6)
    assert (quick.pause_s, slow.pause_s) == (MIN_PAUSE_S, MAX_PAUSE_S)
