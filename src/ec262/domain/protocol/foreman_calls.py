"""Calls of foremen to discovery, and the replies: bodies of the ``/v1`` API.

The same frozen classes are the arguments of the use cases, the JSON bodies of requests and replies, and the schemas in
the OpenAPI document. Times are in seconds. Durations count from the moment of the reply, so clocks need not agree.
Bytes are encoded in standard Base64. Secrets do not appear in a repr.
"""

from __future__ import annotations

import attrs
from attrs import validators as v

from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.limits import (
    MAX_BATCH,
    MAX_DEADLINE_S,
    MAX_ORDERS,
    MAX_WAIT_S,
)
from ec262.domain.protocol.requirement import Requirement
from ec262.domain.protocol.shapes import a_rule, an_id, id_list
from ec262.domain.verification.rules import MAX_REPLICAS
from ec262.domain.verification.task_state import TaskState

# --- buying ---------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class PoolQuery:
    """A request for the number of workers that could be drawn now and, given a ``rule``, how many a new task would
    need."""

    requirement: Requirement
    rule: str | None = attrs.field(default=None, validator=v.optional(a_rule))


@attrs.frozen(kw_only=True)
class PoolStatus:
    """The number of eligible ``workers``, and of their free ``slots``. ``explanation`` says which other workers are in
    the pool and why they cannot be drawn ("2 workers run cpython 3.12, ..."); it may be empty. ``team`` is how many
    workers would be drawn for a task, at one credit each, if the query named a rule."""

    workers: int
    slots: int
    explanation: str
    team: int | None = None


@attrs.frozen(kw_only=True)
class BuyTasks:
    """Buy up to ``tasks`` tasks. One credit for each replica moves to the tasks' escrow.

    ``purchase`` is an id made by the client. Repeating a call with the same id returns the same reply and moves no
    credits. ``avoid`` lists workers to draw only if there are not enough others, such as workers that failed this task
    before.
    """

    purchase: str = attrs.field(validator=an_id)
    tasks: int = attrs.field(validator=[v.ge(1), v.le(MAX_BATCH)])
    rule: str = attrs.field(validator=a_rule)
    requirement: Requirement
    deadline_s: float = attrs.field(validator=[v.ge(1), v.le(MAX_DEADLINE_S)])
    avoid: tuple[str, ...] = attrs.field(default=(), validator=id_list(MAX_BATCH))


@attrs.frozen(kw_only=True)
class ReplicaOrder:
    """Add ``replicas`` workers to a task."""

    task: str = attrs.field(validator=an_id)
    replicas: int = attrs.field(default=1, validator=[v.ge(1), v.le(MAX_REPLICAS)])


@attrs.frozen(kw_only=True)
class AddReplicas:
    """Add workers to open tasks, at one credit each. The tasks keep their keys, and their deadlines are extended to at
    least ``deadline_s`` from now.

    ``purchase`` is an id made by the client, as in ``BuyTasks``. An order is filled completely or not at all. Tasks
    that are not the caller's or not open are left out.
    """

    purchase: str = attrs.field(validator=an_id)
    orders: tuple[ReplicaOrder, ...] = attrs.field(validator=[v.min_len(1), v.max_len(MAX_ORDERS)])
    deadline_s: float = attrs.field(validator=[v.ge(1), v.le(MAX_DEADLINE_S)])
    avoid: tuple[str, ...] = attrs.field(default=(), validator=id_list(MAX_BATCH))

    @orders.validator
    def _each_task_once(self, _attribute: object, orders: tuple[ReplicaOrder, ...]) -> None:
        if len({order.task for order in orders}) < len(orders):
            raise ValueError("a task is listed twice")


@attrs.frozen(kw_only=True, slots=False)
class BoughtReplica:
    """A worker drawn for a task. ``secret`` proves to the worker that the foreman may send it work."""

    worker: str
    address: WorkerAddress
    secret: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True, slots=False)
class BoughtTask:
    """A task and the replicas bought by this purchase. Commitments are accepted for another ``deadline_s`` seconds."""

    task: str
    deadline_s: float
    replicas: tuple[BoughtReplica, ...]


@attrs.frozen(kw_only=True)
class Purchase:
    """What was assigned, which may be less than requested. ``shortfall`` says what is missing and why, or is empty.
    ``price`` is what the purchase cost, and ``credits`` what the account has left."""

    purchase: str
    tasks: tuple[BoughtTask, ...]
    price: int
    credits: int
    shortfall: str


# --- verdicts -------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True, slots=False)
class Winner:
    """A worker that committed the winning digest. With ``delivery_secret``, it delivers the ciphertext."""

    worker: str
    delivery_secret: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class DisputedResult:
    """What one worker committed to a disputed task, and the secret for which it delivers the ciphertext."""

    worker: str
    digest: bytes
    delivery_secret: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Vote:
    """What one worker committed to a decided task, and the trust in the worker at that time: the number of its
    agreements (``agreed``), and of those since the last alarm (``recent``)."""

    worker: str
    digest: bytes
    agreed: float
    recent: float


@attrs.frozen(kw_only=True, slots=False)
class Verdict:
    """A task's state as its foreman sees it. Tasks that are won, provisional, settled or disputed have a ``key``. In
    the first three states they have a ``digest`` and ``winners``, in the last one ``results``. ``committed`` is the
    number of commitments so far, and ``outstanding`` the number of workers that may still commit.

    ``wanted`` is how many more workers the rule asks for, if it adds replicas. ``confidence`` is the probability that
    the winning or leading digest is right. If the query asked for votes, a decided task also has ``rule``, ``audited``
    and its ``votes`` in order of arrival.
    """

    task: str
    state: TaskState
    committed: int
    outstanding: int
    key: bytes | None = attrs.field(default=None, repr=False)
    digest: bytes | None = None
    winners: tuple[Winner, ...] = ()
    results: tuple[DisputedResult, ...] = ()
    wanted: int = 0
    confidence: float = 0.0
    rule: str | None = None
    audited: bool | None = None
    votes: tuple[Vote, ...] = ()

    @property
    def decided(self) -> bool:
        """Whether nothing but the deadline can change the state."""
        return self.state is not TaskState.OPEN or self.outstanding == 0


@attrs.frozen(kw_only=True)
class Verdicts:
    """A verdict for each requested task that the caller bought and that discovery still knows."""

    verdicts: tuple[Verdict, ...]


@attrs.frozen(kw_only=True)
class VerdictQuery:
    """A request for the verdicts of tasks that the caller bought. With ``wait_s``, the reply is held back for at most
    that many seconds, until a task is decided: it is no longer open, or no more workers can commit. With ``votes``,
    verdicts contain the votes."""

    tasks: tuple[str, ...] = attrs.field(validator=id_list(MAX_BATCH))
    votes: bool = False
    wait_s: float = attrs.field(default=0.0, validator=[v.ge(0), v.le(MAX_WAIT_S)])

    def has_news(self, reply: Verdicts) -> bool:
        """Return whether a reply need not be held back: a task is decided or no longer known, or no task was
        requested."""
        return (
            not self.tasks
            or len(reply.verdicts) < len(set(self.tasks))
            or any(verdict.decided for verdict in reply.verdicts)
        )


@attrs.frozen(kw_only=True)
class AcceptResults:
    """Turn provisional wins of the caller's tasks into wins, which pays their workers. If the worker has been caught
    lying in the meantime, the task is reopened instead."""

    tasks: tuple[str, ...] = attrs.field(validator=id_list(MAX_BATCH))


@attrs.frozen(kw_only=True)
class BuyDisputes:
    """Pay all workers that committed to these tasks, in which no digest won, to see what each of them committed."""

    tasks: tuple[str, ...] = attrs.field(validator=id_list(MAX_BATCH))


@attrs.frozen(kw_only=True)
class DeliveryReport:
    """A worker that won the caller's task and did not deliver the result."""

    task: str = attrs.field(validator=an_id)
    worker: str = attrs.field(validator=an_id)


@attrs.frozen(kw_only=True)
class DeliveryReports:
    """Report winners that did not deliver. This moves no credits."""

    reports: tuple[DeliveryReport, ...] = attrs.field(validator=v.max_len(MAX_BATCH))
