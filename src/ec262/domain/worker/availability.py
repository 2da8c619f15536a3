"""When a machine is lent: at the hours that its owner names, and, if the owner wants it so, while nobody else uses it.

Pure rules over what is known of one moment; who looks at clock and machine is behind ``ports.surroundings``.
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
    """A time of every day, in minutes after midnight: from ``begin`` up to, not including, ``end``. An end before the
    beginning is on the next day."""

    begin: int = attrs.field(validator=[v.ge(0), v.lt(MINUTES_A_DAY)])
    end: int = attrs.field(validator=[v.ge(0), v.le(MINUTES_A_DAY)])

    @end.validator
    def _takes_time(self, _attribute: object, value: int) -> None:
        if value == self.begin:
            raise ValueError("hours that end when they begin are none; around the clock is 0-24")

    def __contains__(self, minute: int) -> bool:
        if self.begin < self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end

    def __str__(self) -> str:
        begin, end = (divmod(minute, _MINUTES_AN_HOUR) for minute in (self.begin, self.end))
        return "{:02}:{:02}-{:02}:{:02}".format(*begin, *end)


def parse_hours(text: str) -> DailyHours:
    """Read hours such as ``22-6`` or ``12:30-13:15``, local time. Raises ValueError."""
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} are no hours: give them as 22-6 or 12:30-13:15")
    begin, begin_minute, end, end_minute = (int(part or 0) for part in match.groups())
    if max(begin_minute, end_minute) >= _MINUTES_AN_HOUR:
        raise ValueError(f"{text!r} are no hours: an hour has {_MINUTES_AN_HOUR} minutes")
    if begin >= _HOURS_A_DAY or (end, end_minute) > (_HOURS_A_DAY, 0):
        raise ValueError(f"{text!r} are no hours: they begin at 0 to 23:59, and end at 24:00 at the latest")
    try:
        return DailyHours(begin=begin * _MINUTES_AN_HOUR + begin_minute, end=end * _MINUTES_AN_HOUR + end_minute)
    except ValueError as error:
        raise ValueError(f"{text!r} are no hours: {error}") from None


@attrs.frozen(kw_only=True)
class Moment:
    """What is known of a machine at a moment.

    ``minute`` of the local day, from 0. ``others_load`` is the share of all processors that other programs kept busy in
    the last minute, 0 to 1; None while it is not known yet. ``input_idle_s`` is how many seconds ago somebody typed or
    moved the mouse, infinite where nobody can.
    """

    minute: int
    others_load: float | None
    input_idle_s: float


@attrs.frozen(kw_only=True)
class IdleRule:
    """A machine is idle if others keep less than ``load`` of its processors busy (0 to 1) and nobody has touched it for
    ``input_s`` seconds."""

    load: float = attrs.field(default=0.25, validator=[v.gt(0), v.le(1)])
    input_s: float = attrs.field(default=600.0, validator=v.ge(0))


@attrs.frozen(kw_only=True)
class Availability:
    """When a machine is lent: within one of the ``hours`` (none: at any hour), and, with an ``idle`` rule, while it is
    idle. The default is always."""

    hours: tuple[DailyHours, ...] = ()
    idle: IdleRule | None = None

    @property
    def restricted(self) -> bool:
        """Whether there are moments at which the machine is not lent."""
        return bool(self.hours) or self.idle is not None

    def obstacle(self, moment: Moment) -> str:
        """Say why the machine is not lent at a moment, in words that do not change from one to the next for the same
        reason; nothing if it is."""
        if self.hours and not any(moment.minute in hours for hours in self.hours):
            return f"it is outside the hours {', '.join(map(str, self.hours))}"
        if self.idle is None:
            return ""
        if moment.input_idle_s < self.idle.input_s:
            return f"somebody used this machine in the last {self.idle.input_s / 60:g} minutes"
        if moment.others_load is None:
            return "it is not known yet whether this machine is idle"
        if moment.others_load >= self.idle.load:
            return f"other programs use {self.idle.load:.0%} or more of the processors"
        return ""
