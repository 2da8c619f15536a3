"""When a machine is lent: during the hours that its owner chooses and, optionally, only while the machine is idle.

These are pure rules for one moment. ``ec262.domain.worker.surroundings`` is the port that observes the machine.
"""

from __future__ import annotations

import re

import attrs
from attrs import validators as v

MINUTES_A_DAY = 24 * 60

_RANGE = re.compile(r"(\d{1,2})(?::(\d\d))?-(\d{1,2})(?::(\d\d))?", re.ASCII)
_MINUTES_AN_HOUR, _HOURS_A_DAY = 60, 24


@attrs.frozen(kw_only=True)
class DailyHours:
    """Hours of every day, in minutes after midnight, from ``begin`` up to but not including ``end``. If the end is
    before the beginning, it is on the next day."""

    begin: int = attrs.field(validator=[v.ge(0), v.lt(MINUTES_A_DAY)])
    end: int = attrs.field(validator=[v.ge(0), v.le(MINUTES_A_DAY)])

    @end.validator
    def _takes_time(self, _attribute: object, value: int) -> None:
        if value == self.begin:
            raise ValueError("they end when they begin; use 0-24 for all day")

    def __contains__(self, minute: int) -> bool:
        if self.begin < self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end

    def __str__(self) -> str:
        begin, end = (divmod(minute, _MINUTES_AN_HOUR) for minute in (self.begin, self.end))
        return "{:02}:{:02}-{:02}:{:02}".format(*begin, *end)


def parse_hours(text: str) -> DailyHours:
    """Read hours such as ``22-6`` or ``12:30-13:15``, in local time. Raises ValueError."""
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"invalid hours {text!r}: use a form such as 22-6 or 12:30-13:15")
    begin, begin_minute, end, end_minute = (int(part or 0) for part in match.groups())
    if max(begin_minute, end_minute) >= _MINUTES_AN_HOUR:
        raise ValueError(f"invalid hours {text!r}: minutes must be below {_MINUTES_AN_HOUR}")
    if begin >= _HOURS_A_DAY or (end, end_minute) > (_HOURS_A_DAY, 0):
        raise ValueError(f"invalid hours {text!r}: they must begin between 0:00 and 23:59, and end by 24:00")
    try:
        return DailyHours(begin=begin * _MINUTES_AN_HOUR + begin_minute, end=end * _MINUTES_AN_HOUR + end_minute)
    except ValueError as error:
        raise ValueError(f"invalid hours {text!r}: {error}") from None


@attrs.frozen(kw_only=True)
class Moment:
    """What is known about a machine at one moment.

    ``minute`` counts from local midnight. ``others_load`` is the share of all processors that other programs kept busy
    in the last minute, 0 to 1, or None if it is not known yet. ``input_idle_s`` is how many seconds ago the keyboard or
    mouse was last used; infinite if there is none.
    """

    minute: int
    others_load: float | None
    input_idle_s: float


@attrs.frozen(kw_only=True)
class IdleRule:
    """A machine is idle if other programs keep less than the share ``load`` (0 to 1) of its processors busy and its
    keyboard and mouse have not been used for ``input_s`` seconds."""

    load: float = attrs.field(default=0.25, validator=[v.gt(0), v.le(1)])
    input_s: float = attrs.field(default=600.0, validator=v.ge(0))


@attrs.frozen(kw_only=True)
class Availability:
    """When a machine is lent: during one of the ``hours`` (at any hour if there are none) and, with an ``idle`` rule,
    only while it is idle. The default is always."""

    hours: tuple[DailyHours, ...] = ()
    idle: IdleRule | None = None

    @property
    def restricted(self) -> bool:
        """Whether there are times when the machine is not lent."""
        return bool(self.hours) or self.idle is not None

    def obstacle(self, moment: Moment) -> str:
        """Return why the machine is not lent at a moment, or an empty text if it is. The text stays the same as long as
        the reason does."""
        if self.hours and not any(moment.minute in hours for hours in self.hours):
            return f"it is outside the hours {', '.join(map(str, self.hours))}"
        if self.idle is None:
            return ""
        if moment.input_idle_s < self.idle.input_s:
            return f"this machine was used in the last {self.idle.input_s / 60:g} minutes"
        if moment.others_load is None:
            return "it is not known yet whether this machine is idle"
        if moment.others_load >= self.idle.load:
            return f"other programs use {self.idle.load:.0%} or more of the processors"
        return ""
