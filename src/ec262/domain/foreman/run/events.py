"""The events of a running job, and the instructions with which the job's state machine responds.

Events go into ``JobRun.handle``; instructions come out. Both are plain values, so a run can be recorded, replayed and
tested. ``now`` and ``at`` are seconds on one clock of the caller's choice.
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
    """The current phase has more tasks than were known: buy them, too. While further tasks are to follow, at least one
    known task has no work yet."""

    now: float
    tasks: tuple[TaskName, ...]


@attrs.frozen(kw_only=True)
class Bought:
    """The reply to ``Buy``: the first of the tasks in ``asked`` were assigned, in order, one bought task each."""

    now: float
    asked: tuple[TaskName, ...]
    tasks: tuple[BoughtTask, ...]
    shortfall: str


@attrs.frozen(kw_only=True)
class Added:
    """The reply to ``Extend``: ``tasks`` are those of ``asked`` to which workers were added, with only the added
    workers."""

    now: float
    asked: tuple[TaskName, ...]
    tasks: tuple[BoughtTask, ...]
    shortfall: str


@attrs.frozen(kw_only=True)
class TooPoor:
    """The reply to ``Buy`` or ``Extend``: there are too few credits."""

    now: float
    asked: tuple[TaskName, ...]
    have: int
    need: int


@attrs.frozen(kw_only=True)
class LimitHit:
    """The reply to ``Buy`` or ``Extend``: the account would have more tasks under way than the service allows."""

    now: float
    asked: tuple[TaskName, ...]
    error: LimitReached


@attrs.frozen(kw_only=True)
class ReplicaCommitted:
    """A worker reports that it has committed its result."""

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
    """Discovery's verdicts on tasks; a task that it no longer knows is missing from ``verdicts``. ``asked`` and
    ``heard`` are copied from the question."""

    now: float
    asked: tuple[str, ...]
    heard: tuple[int, ...] | None = None
    verdicts: tuple[Verdict, ...]


@attrs.frozen(kw_only=True)
class Accepted:
    """The reply to ``Accept``; a task that discovery no longer knows is missing from ``verdicts``."""

    now: float
    asked: tuple[str, ...]
    verdicts: tuple[Verdict, ...]


@attrs.frozen(kw_only=True)
class ResultKept:
    """A winner delivered the result; it was checked, decrypted and stored, and replaces an earlier delivery."""

    now: float
    task: str


@attrs.frozen(kw_only=True)
class Undelivered:
    """A winner did not deliver a usable result."""

    now: float
    task: str
    worker: str
    reason: str


@attrs.frozen(kw_only=True)
class Diagnosed:
    """The result of ``Dispute``: discovery's verdict on the task, if it gave one, and the diagnosis of the workers'
    results, or None if no two could be compared."""

    now: float
    task: str
    verdict: Verdict | None
    diagnosis: Diagnosis | None


@attrs.frozen(kw_only=True)
class PhaseChecked:
    """The result of ``CheckPhase``: the ``error`` with which the results of the phase would end the job, if any, and
    the doubted ``tasks`` that cause it."""

    now: float
    error: KeyCollision | JobDefinitionError | None = None
    tasks: tuple[TaskName, ...] = ()


@attrs.frozen(kw_only=True)
class CodeFailed:
    """The winning result states that the job's own code failed, hit a limit, or yielded a key that is not hashable."""

    now: float
    task: str
    error: UserCodeFailed | TaskLimitExceeded | KeyNotHashable


@attrs.frozen(kw_only=True)
class Crashed:
    """The winning result states that the task's process crashed; ``detail`` describes how."""

    now: float
    task: str
    detail: str


@attrs.frozen(kw_only=True)
class TimerRang:
    """The time of a ``Wake`` has come."""

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
    | ResultKept
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
    """Ask discovery for the verdicts on these tasks.

    ``heard`` is, for each task, the amount of news about its replicas at that time: an answer may only end or extend a
    purchase if there was no news since the question. It is None for a watch: discovery may hold back the answer until
    there is news, and a later watch replaces an earlier one.
    """

    tasks: tuple[str, ...]
    heard: tuple[int, ...] | None = None


@attrs.frozen(kw_only=True)
class Accept:
    """Turn the provisional wins of these tasks into wins."""

    tasks: tuple[str, ...]


@attrs.frozen(kw_only=True)
class CheckPhase:
    """All results of the phase have arrived: check whether their keys can coexist. Each result of a ``doubted`` task
    comes from one worker alone."""

    doubted: tuple[TaskName, ...]


@attrs.frozen(kw_only=True)
class Fetch:
    """Ask one winner for the result; ``replica`` has its address, ``verdict`` the key, the digest and its secret.
    ``alone`` means that no other worker confirmed the result."""

    name: TaskName
    replica: BoughtReplica
    verdict: Verdict
    alone: bool = False


@attrs.frozen(kw_only=True)
class Dispute:
    """Pay all workers that committed to a task that none won, have their results delivered, and compare them."""

    name: TaskName
    task: str
    replicas: tuple[BoughtReplica, ...]


@attrs.frozen(kw_only=True)
class Wake:
    """Send ``TimerRang`` at this time; a later ``Wake`` replaces an earlier one."""

    at: float


@attrs.frozen(kw_only=True)
class StartReduce:
    """Every map task is done: shuffle, and send ``PhasePlanned`` for the reduce phase (without tasks if there are no
    keys)."""


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
