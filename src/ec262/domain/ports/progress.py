"""How a running job is shown to the person who waits for it."""

from __future__ import annotations

from typing import Protocol

import attrs

from ec262.domain.work.work import Phase


@attrs.frozen(kw_only=True)
class JobStatus:
    """A moment of a run: tasks of the phase, workers connected, credits left (as far as known; None where nobody counts
    them), and a note when it waits for something; ``until`` is when that wait ends at the latest, if known, on the
    foreman's clock."""

    phase: Phase
    done: int
    running: int
    total: int
    workers: int
    credits: int | None
    note: str = ""
    until: float | None = None


class Progress(Protocol):
    """Shows a run. Called often: showing is the adapter's choice."""

    def show(self, status: JobStatus) -> None:
        """Take note of the latest status."""
        ...

    def close(self) -> None:
        """The run is over; leave the terminal clean. May be called twice."""
        ...
