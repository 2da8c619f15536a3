"""What can happen to a running job, and what the job's state machine asks to be done about it.

Events go into ``JobRun.handle``; instructions come out. Both are plain values, so a run can be written down, replayed
and asserted on. ``now`` and ``at`` are seconds on one clock of the caller's choice.
"""

from __future__ import annotations

import attrs

from ec262.domain.errors import (
    Ec262Error,
    JobDefinitionError,
    KeyCollision,
    KeyNotHashable,
    LimitReached,
    TaskLimitExceeded,
    UserCodeFailed,
)
from ec262.domain.foreman.job.diagnosis import Diagnosis
from ec262.domain.protocol.foreman_calls import BoughtReplica, BoughtTask, ReplicaOrder, Verdict
from ec262.domain.work.work import TaskName

# --- events ---------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class PhasePlanned:
    """A phase's partitions are known: buy them. The map phase's plan starts the run."""

    now: float
    tasks: tuple[TaskName, ...]


@attrs.frozen(kw_only=True)
class PhaseGrew:
    """There are more tasks in the phase under way than were known: buy them, too. While there are to be others besides,
    at least one that is known has no work yet."""

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
class Added:
    """The answer to ``Extend``: ``tasks`` are those of ``asked`` that workers were added to, with these only."""

    now: float
    asked: tuple[TaskName, ...]
    tasks: tuple[BoughtTask, ...]
    shortfall: str


@attrs.frozen(kw_only=True)
class TooPoor:
    """The answer to ``Buy`` or ``Extend``: the purse does not cover it."""

    now: float
    asked: tuple[TaskName, ...]
    have: int
    need: int


@attrs.frozen(kw_only=True)
class LimitHit:
    """The answer to ``Buy`` or ``Extend``: the account would have more under way than the service allows."""

    now: float
    asked: tuple[TaskName, ...]
    error: LimitReached


@attrs.frozen(kw_only=True)
class ReplicaCommitted:
    """A worker says that it has committed its result."""

    now: float
    task: str
    worker: str


@attrs.frozen(kw_only=True)
class ReplicaEnded:
    """A worker will give no result: it refused, failed or was lost."""

    now: float
    task: str
    worker: str
    reason: str


@attrs.frozen(kw_only=True)
class Judged:
    """Discovery's answer on tasks; one that it no longer knows is missing from ``verdicts``. ``asked`` and ``heard``
    are the question's."""

    now: float
    asked: tuple[str, ...]
    heard: tuple[int, ...] | None = None
    verdicts: tuple[Verdict, ...]


@attrs.frozen(kw_only=True)
class Accepted:
    """The answer to ``Accept``; a task that discovery no longer knows is missing from ``verdicts``."""

    now: float
    asked: tuple[str, ...]
    verdicts: tuple[Verdict, ...]


@attrs.frozen(kw_only=True)
class Delivered:
    """A winner gave up the result; it was checked, decrypted and kept, in place of what was delivered before."""

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
class Diagnosed:
    """The answer to ``Dispute``: discovery's word on the task, None if it gave none, and what its workers' results look
    like, None if no two could be compared."""

    now: float
    task: str
    verdict: Verdict | None
    diagnosis: Diagnosis | None


@attrs.frozen(kw_only=True)
class PhaseChecked:
    """The answer to ``CheckPhase``: the ``error`` that the results of the phase would end the job with, if they would,
    and the doubted ``tasks`` but for which they would not."""

    now: float
    error: KeyCollision | JobDefinitionError | None = None
    tasks: tuple[TaskName, ...] = ()


@attrs.frozen(kw_only=True)
class CodeFailed:
    """What won says that the job's own code failed, hit a limit, or yielded a key that no dict takes."""

    now: float
    task: str
    error: UserCodeFailed | TaskLimitExceeded | KeyNotHashable


@attrs.frozen(kw_only=True)
class Crashed:
    """What won says that the task's process crashed; ``detail`` says how."""

    now: float
    task: str
    detail: str


@attrs.frozen(kw_only=True)
class TimerRang:
    """The time that a ``Wake`` asked for has come."""

    now: float


Event = (
    PhasePlanned
    | PhaseGrew
    | Bought
    | Added
    | TooPoor
    | LimitHit
    | ReplicaCommitted
    | ReplicaEnded
    | Judged
    | Accepted
    | Delivered
    | Undelivered
    | Diagnosed
    | PhaseChecked
    | CodeFailed
    | Crashed
    | TimerRang
)

# --- instructions ---------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Buy:
    """Buy these tasks under this rule; ``avoid`` names workers to draw only if there are not enough others."""

    tasks: tuple[TaskName, ...]
    rule: str
    avoid: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Extend:
    """Add workers to these tasks, one order each; ``avoid`` as in ``Buy``."""

    tasks: tuple[TaskName, ...]
    orders: tuple[ReplicaOrder, ...]
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

    ``heard`` is, for each task, how much had been heard of its replicas at that time: an answer may only end or extend
    a purchase if nothing was heard since the question. It is None for a watch: the answer may be held back until there
    is news, and a later watch replaces an earlier one.
    """

    tasks: tuple[str, ...]
    heard: tuple[int, ...] | None = None


@attrs.frozen(kw_only=True)
class Accept:
    """Let provisional wins of these tasks be wins."""

    tasks: tuple[str, ...]


@attrs.frozen(kw_only=True)
class CheckPhase:
    """All results of the phase are there: see whether their keys can stand side by side. Of ``doubted`` tasks one
    worker's word alone vouches for the result."""

    doubted: tuple[TaskName, ...]


@attrs.frozen(kw_only=True)
class Fetch:
    """Ask one winner for the result; ``replica`` says where it lives, ``verdict`` has key, digest and its secret.
    ``alone`` tells whether nobody else vouches for it."""

    name: TaskName
    replica: BoughtReplica
    verdict: Verdict
    alone: bool = False


@attrs.frozen(kw_only=True)
class Dispute:
    """Pay all who committed to a task that none won, have their results delivered, and compare them."""

    name: TaskName
    task: str
    replicas: tuple[BoughtReplica, ...]


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


Instruction = (
    Buy | Extend | Dispatch | AskVerdicts | Accept | CheckPhase | Fetch | Dispute | Wake | StartReduce | Finish | Fail
)
