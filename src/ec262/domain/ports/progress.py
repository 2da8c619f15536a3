"""Shows a running job to the person who waits for it."""

from __future__ import annotations

from typing import Protocol

import attrs

from ec262.domain.work.work import Phase


@attrs.frozen(kw_only=True)
class JobStatus:
    """The status of a run: the phase's tasks, the connected workers and the credits left, as far as they are known
    (None if they are not counted). ``note`` says what the run is waiting for, if anything, and ``until`` when the wait
    ends at the latest, on the foreman's clock, if that is known."""

    phase: Phase
    done: int
    running: int
    total: int
    workers: int
    credits: int | None
    note: str = ""
    until: float | None = None


class Progress(Protocol):
    """Shows a run. It is called often, and the adapter chooses when to draw."""

    def show(self, status: JobStatus) -> None:
        """Take the latest status."""
        ...

    def close(self) -> None:
        """End the display and leave the terminal clean. May be called twice."""
        ...
