"""When a machine is lent."""

from __future__ import annotations

import math

import pytest

from ec262.domain.worker.availability import Availability, DailyHours, IdleRule, Moment, parse_hours


def moment(hour: float = 12.0, *, load: float | None = 0.0, idle_s: float = math.inf) -> Moment:
    return Moment(minute=int(hour * 60), others_load=load, input_idle_s=idle_s)


@pytest.mark.parametrize(
    ("text", "begin", "end", "told"),
    [
        ("22-6", 1320, 360, "22:00-06:00"),
        ("12:30-13:15", 750, 795, "12:30-13:15"),
        (" 0-24 ", 0, 1440, "00:00-24:00"),
        ("18-24", 1080, 1440, "18:00-24:00"),
        ("6:05-6:04", 365, 364, "06:05-06:04"),
    ],
)
def test_hours_are_parsed_and_printed(text: str, begin: int, end: int, told: str) -> None:
    hours = parse_hours(text)
    assert hours == DailyHours(begin=begin, end=end)
    assert str(hours) == told


@pytest.mark.parametrize(
    "text", ["", "22", "22-", "-6", "22-6-7", "25-6", "24-6", "6-25", "6-6", "6:60-7", "6:5-7", "6-24:01", "a-b", "٢-٣"]
)
def test_invalid_hours_are_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="invalid hours") as caught:
        parse_hours(text)
    assert repr(text) in str(caught.value)
    assert "1440" not in str(caught.value)


def test_every_minute_is_in_the_hours_or_in_those_that_begin_when_they_end() -> None:
    for begin, end in [(0, 360), (360, 1320), (1320, 360), (1, 0), (1439, 1)]:
        inside = {minute for minute in range(1440) if minute in DailyHours(begin=begin, end=end)}
        outside = {minute for minute in range(1440) if minute in DailyHours(begin=end, end=begin)}
        assert len(inside) == (end - begin) % 1440
        assert inside | outside == set(range(1440))
        assert not inside & outside
        assert begin in inside
        assert end not in inside


def test_without_a_rule_a_machine_is_always_lent() -> None:
    always = Availability()
    assert not always.restricted
    assert always.obstacle(moment(load=1.0, idle_s=0)) == ""


def test_one_of_several_hours_is_enough() -> None:
    lent = Availability(hours=(parse_hours("22-6"), parse_hours("12:30-13")))
    assert lent.restricted
    assert [hour for hour in (5.99, 6, 12.4, 12.5, 13, 21.99, 22, 23.99) if not lent.obstacle(moment(hour))] == [
        *(5.99, 12.5, 22, 23.99)
    ]
    assert lent.obstacle(moment(6)) == "it is outside the hours 22:00-06:00, 12:30-13:00"


@pytest.mark.parametrize(
    ("seen", "obstacle"),
    [
        (moment(load=0.24), ""),
        (moment(load=0.25), "other programs use 25% or more of the processors"),
        (moment(load=None), "it is not known yet whether this machine is idle"),
        (moment(idle_s=599.9), "this machine was used in the last 10 minutes"),
        (moment(idle_s=600), ""),
    ],
)
def test_idle_is_who_is_left_alone(seen: Moment, obstacle: str) -> None:
    lent = Availability(idle=IdleRule())
    assert lent.restricted
    assert lent.obstacle(seen) == obstacle


def test_hours_and_idleness_both_have_to_be() -> None:
    lent = Availability(hours=(parse_hours("22-6"),), idle=IdleRule(load=1.0, input_s=0))
    assert not lent.obstacle(moment(23, load=0.99, idle_s=0))
    assert lent.obstacle(moment(23, load=1.0))
    assert lent.obstacle(moment(12))
