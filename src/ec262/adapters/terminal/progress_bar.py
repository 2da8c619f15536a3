"""Progress of a run on a terminal, as plain lines, or not at all."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NoReturn, TextIO

from ec262.domain.ports.progress import JobStatus, Progress
from ec262.domain.terminal import one_line
from ec262.domain.work.work import Phase

if TYPE_CHECKING:
    from tqdm import tqdm

LINE_INTERVAL_S = 5.0
"""Plain lines come when a phase begins, and then not more often than this."""


class Silent:
    """Shows nothing."""

    def show(self, status: JobStatus) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Do nothing."""


class Lines:
    """Plain lines, for logs and pipes."""

    def __init__(self, stream: TextIO, clock: Callable[[], float], *, late: bool = False) -> None:
        """``late`` is for one of many jobs: the first line comes after the interval, and none at a phase's begin."""
        self._stream = stream
        self._clock = clock
        self._late = late
        self._latest: JobStatus | None = None
        self._written: JobStatus | None = None
        self._next_at = clock() + LINE_INTERVAL_S if late else 0.0
        self._began_at = 0.0

    def show(self, status: JobStatus) -> None:
        """Write a line if a phase begins or ends, a note changed, or something did and enough time has passed."""
        before, self._latest = self._latest, status
        begins = before is None or status.phase is not before.phase
        if begins:
            if not self._late:
                self._write(before)
            self._began_at = self._clock()
        is_news = begins or (before is not None and status.note not in {"", before.note})
        if (is_news and not self._late) or (status != self._written and self._clock() >= self._next_at):
            self._write(status)

    def close(self) -> None:
        """Write how the run ended."""
        if self._written is not None or not self._late:
            self._write(self._latest)

    def _write(self, status: JobStatus | None) -> None:
        if status is None or status == self._written or not status.total:
            return
        self._written = status
        self._next_at = self._clock() + LINE_INTERVAL_S
        parts = (
            f"{status.phase.value}: {status.done}/{status.total} tasks",
            self._pace(status),
            _details(status, self._clock),
        )
        with suppress(OSError):  # a job does not end because nobody can see how far it is
            print(", ".join(filter(None, parts)), file=self._stream)

    def _pace(self, status: JobStatus) -> str:
        """Return the phase's average rate and the time left; nothing before the first task and after the last."""
        took_s = self._clock() - self._began_at
        if not 0 < status.done < status.total or took_s <= 0:
            return ""
        rate = status.done / took_s
        return f"{rate:.2f} tasks/s, {_duration((status.total - status.done) / rate)} left"


class Bar:
    """A bar for each phase on a terminal."""

    def __init__(self, stream: TextIO, clock: Callable[[], float], *, late: bool = False) -> None:
        """``late`` is for one of many jobs: there is a bar if it runs longer than ``LINE_INTERVAL_S``."""
        self._stream = stream
        self._clock = clock
        self._from = clock() + LINE_INTERVAL_S if late else 0.0
        self._phase: Phase | None = None
        self._bar: tqdm[NoReturn] | None = None
        self._shown: JobStatus | None = None

    def show(self, status: JobStatus) -> None:
        """Move the bar. The total may change with every status: tasks are sized while the job runs."""
        if status == self._shown or not status.total or self._clock() < self._from:
            return
        self._shown = status
        if status.phase is not self._phase:
            self.close()
            self._phase = status.phase
        with suppress(OSError):  # as above
            bar = self._bar = self._bar or self._begin(status)
            bar.total = status.total
            bar.set_postfix_str(_details(status, self._clock), refresh=False)
            bar.update(status.done - bar.n)
            bar.refresh()

    def _begin(self, status: JobStatus) -> tqdm[NoReturn]:
        from tqdm import tqdm  # noqa: PLC0415 - most runs show no bar

        return tqdm(
            total=status.total,
            initial=status.done,  # not of the time that is measured from now on
            desc=f"{status.phase.value:>6}",
            file=self._stream,
            dynamic_ncols=True,
            unit="task",
            smoothing=0,  # the average: tasks end in bursts, as their workers commit
            bar_format="{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} "
            "[{elapsed}, {remaining} left, {rate_fmt}{postfix}]",
        )

    def close(self) -> None:
        """Leave the bar as it stands, the cursor on a new line."""
        if self._bar is not None:
            with suppress(OSError):
                self._bar.close()
            self._bar = None


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _details(status: JobStatus, clock: Callable[[], float]) -> str:
    details = f"{status.running} running, {status.workers} workers"
    if status.credits is not None:
        details += f", {status.credits} credits left"
    if not status.note:
        return details
    return f"{details}; {one_line(status.note)}{_until(status.until - clock()) if status.until is not None else ''}"


def _until(seconds: float) -> str:
    """Say when a wait of so many seconds ends: as time of day, which stays true while nothing else happens."""
    at = datetime.now().astimezone() + timedelta(seconds=max(0.0, seconds))
    return f", until {at:%H:%M:%S} at the latest"


def choose_progress(
    *, quiet: bool, clock: Callable[[], float], stream: TextIO | None = None, late: bool = False
) -> Progress:
    """Return what suits the stream (standard error unless given). ``late``: a short job is not shown."""
    stream = stream if stream is not None else sys.stderr
    if quiet:
        return Silent()
    logged = logging.getLogger("ec262").isEnabledFor(logging.INFO)  # to the same stream, in the middle of a bar
    shown = Bar if stream.isatty() and not logged else Lines
    return shown(stream, clock, late=late)
