"""What can happen to a running job, and what the job's state machine asks to be done about it.

Events go into ``JobRun.handle``; instructions come out. Both are plain values, so a run can be written down, replayed
and asserted on. ``now`` and ``at`` are seconds on one clock of the caller's choice.
"""

from __future__ import annotations

import attrs

from ec262.domain.commands import BoughtReplica, BoughtTask, Verdict
from ec262.domain.errors import Ec262Error
from ec262.domain.job import TaskName

# --- events ---------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class PhasePlanned:
    """A phase's partitions are known: buy them. The map phase's plan starts the run."""

    now: float
    tasks: tuple[TaskName, ...]


@attrs.frozen(kw_only=True)
class Bought:
    """The answer to ``Buy``: the first of ``asked`` were assigned, one bought task each, in order."""

    now: float
    asked: tuple[TaskName, ...]
    tasks: tuple[BoughtTask, ...]
    shortfall: str


@attrs.frozen(kw_only=True)
class TooPoor:
    """The answer to ``Buy``: the purse does not cover it."""

    now: float
    asked: tuple[TaskName, ...]
    have: int
    need: int


@attrs.frozen(kw_only=True)
class ReplicaCommitted:
    """A worker says that it has committed its result."""

    now: float
    task: str
    worker: str


@attrs.frozen(kw_only=True)
class ReplicaEnded:
    """A worker will give no result: it refused, failed or was lost. ``limit`` names the limit that the task hit."""

    now: float
    task: str
    worker: str
    reason: str
    limit: str = ""


@attrs.frozen(kw_only=True)
class Judged:
    """Discovery's answer on tasks; one that it no longer knows is missing from ``verdicts``. ``asked`` and ``heard``
    are the question's."""

    now: float
    asked: tuple[str, ...]
    heard: tuple[int, ...] | None = None
    verdicts: tuple[Verdict, ...]


@attrs.frozen(kw_only=True)
class Delivered:
    """A winner gave up the result; it was checked, decrypted and kept."""

    now: float
    task: str


@attrs.frozen(kw_only=True)
class Undelivered:
    """A winner did not give up a result that can be used."""

    now: float
    task: str
    worker: str
    reason: str


@attrs.frozen(kw_only=True)
class JobFailed:
    """The job cannot go on, as when its own code failed in a verified result."""

    error: Ec262Error


@attrs.frozen(kw_only=True)
class TimerRang:
    """The time that a ``Wake`` asked for has come."""

    now: float


Event = (
    PhasePlanned
    | Bought
    | TooPoor
    | ReplicaCommitted
    | ReplicaEnded
    | Judged
    | Delivered
    | Undelivered
    | JobFailed
    | TimerRang
)

# --- instructions ---------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Buy:
    """Buy these tasks; ``avoid`` names workers to draw only if there are not enough others."""

    tasks: tuple[TaskName, ...]
    avoid: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Dispatch:
    """Send a task's work to one of its replicas."""

    name: TaskName
    task: str
    replica: BoughtReplica


@attrs.frozen(kw_only=True)
class AskVerdicts:
    """Ask discovery how these tasks stand.

    ``heard`` is, for each task, how many of its replicas had been heard of at that time: an answer may only end a
    purchase if nothing was heard since the question. It is None for a watch: the answer may be held back until there is
    news, and a later watch replaces an earlier one.
    """

    tasks: tuple[str, ...]
    heard: tuple[int, ...] | None = None


@attrs.frozen(kw_only=True)
class Fetch:
    """Ask one winner for the result; ``replica`` says where it lives, ``verdict`` has key, digest and its secret."""

    name: TaskName
    replica: BoughtReplica
    verdict: Verdict


@attrs.frozen(kw_only=True)
class Wake:
    """Send ``TimerRang`` at this time; a later ``Wake`` replaces an earlier one."""

    at: float


@attrs.frozen(kw_only=True)
class StartReduce:
    """Every map task is done: shuffle, and send ``PhasePlanned`` for the reduce phase (without tasks if no keys)."""


@attrs.frozen(kw_only=True)
class Finish:
    """Every task is done."""


@attrs.frozen(kw_only=True)
class Fail:
    """Give up with this error."""

    error: Ec262Error


Instruction = Buy | Dispatch | AskVerdicts | Fetch | Wake | StartReduce | Finish | Fail
