"""Errors of a job's run that the job itself did not cause."""

from __future__ import annotations

from ec262.domain.errors.base import Ec262Error


class InsufficientCredits(Ec262Error):
    """The account has too few credits for the job: ``have`` and ``need`` are credits."""

    def __init__(self, *, have: int, need: int, why: str = "") -> None:
        super().__init__(f"insufficient credits: have {have}, need {need}{f' ({why})' if why else ''}")
        self.have = have
        self.need = need
        self.why = why


class NoEligibleWorkers(Ec262Error):
    """No worker in the pool can run the job; the text says which workers are there and what they lack."""


class TaskAbandoned(Ec262Error):
    """A task was bought as often as allowed and never won. ``history`` has a line for each replica, and ``hint`` may
    suggest a cause."""

    def __init__(self, *, task: str, attempts: int, history: tuple[str, ...], hint: str = "") -> None:
        lines = "".join(f"\n  {line}" for line in (*history, hint) if line)
        super().__init__(f"{task} was bought {attempts} times and never won:{lines}")
        self.task = task
        self.attempts = attempts
        self.history = history


class PhaseOver(Ec262Error):
    """A task belongs to a phase that is over, so its result is not needed. This is no reason to end the job."""
