"""A clock that stands still until it is advanced."""

from __future__ import annotations


class ManualClock:
    """Calling it gives Unix seconds, as any ``Clock`` does."""

    def __init__(self, now: float = 1_000_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass, or, with a negative number, set the clock back."""
        self.now += seconds
