"""What foremen and workers ask of the discovery service, and what it answers: the bodies of the ``/v1`` API.

The same frozen classes are the arguments of the use cases, the JSON bodies that clients send and the schemas in the
OpenAPI document. Times are seconds; a duration is counted from the moment of the reply, so that no two clocks need to
agree. Bytes travel as standard Base64. Secrets do not appear in a repr.
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

# --- workers --------------------------------------------------------------------------------------------------------


# --- buying ---------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class PoolQuery:
    """Ask who could be drawn now, and, with a ``rule``, how many workers a new task under it would need."""

    requirement: Requirement
    rule: str | None = attrs.field(default=None, validator=v.optional(a_rule))


@attrs.frozen(kw_only=True)
class PoolStatus:
    """``workers`` eligible workers have ``slots`` free slots between them; ``explanation`` says who else is there and
    why they cannot be drawn ("2 workers run cpython 3.12, ..."), empty if there is nothing to say. ``team`` is how many
    workers would be drawn for a task, a credit each, if a rule was named."""

    workers: int
    slots: int
    explanation: str
    team: int | None = None


@attrs.frozen(kw_only=True)
class BuyTasks:
    """Buy up to ``tasks`` tasks; the replicas' credits move to the tasks' escrow.

    ``purchase`` is made by the client: the same id again gives the same reply and moves nothing. ``avoid`` names
    workers that are drawn only if there are not enough others (those that failed this task before).
    """

    purchase: str = attrs.field(validator=an_id)
    tasks: int = attrs.field(validator=[v.ge(1), v.le(MAX_BATCH)])
    rule: str = attrs.field(validator=a_rule)
    requirement: Requirement
    deadline_s: float = attrs.field(validator=[v.ge(1), v.le(MAX_DEADLINE_S)])
    avoid: tuple[str, ...] = attrs.field(default=(), validator=id_list(MAX_BATCH))


@attrs.frozen(kw_only=True)
class ReplicaOrder:
    """``replicas`` more workers for a task."""

    task: str = attrs.field(validator=an_id)
    replicas: int = attrs.field(default=1, validator=[v.ge(1), v.le(MAX_REPLICAS)])


@attrs.frozen(kw_only=True)
class AddReplicas:
    """Add workers to open tasks, a credit each: same task, same key, a deadline at least ``deadline_s`` away.

    ``purchase`` is made by the client, as in ``BuyTasks``. An order is filled as a whole or not at all; tasks that are
    not the caller's, or not open, are left out.
    """

    purchase: str = attrs.field(validator=an_id)
    orders: tuple[ReplicaOrder, ...] = attrs.field(validator=[v.min_len(1), v.max_len(MAX_ORDERS)])
    deadline_s: float = attrs.field(validator=[v.ge(1), v.le(MAX_DEADLINE_S)])
    avoid: tuple[str, ...] = attrs.field(default=(), validator=id_list(MAX_BATCH))

    @orders.validator
    def _each_task_once(self, _attribute: object, orders: tuple[ReplicaOrder, ...]) -> None:
        if len({order.task for order in orders}) < len(orders):
            raise ValueError("a task is named twice")


@attrs.frozen(kw_only=True, slots=False)
class BoughtReplica:
    """A worker drawn for a task; ``secret`` proves to it that the foreman may send work."""

    worker: str
    address: WorkerAddress
    secret: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True, slots=False)
class BoughtTask:
    """A task and the replicas that this purchase brought; commitments are taken for another ``deadline_s`` seconds."""

    task: str
    deadline_s: float
    replicas: tuple[BoughtReplica, ...]


@attrs.frozen(kw_only=True)
class Purchase:
    """What was assigned, at most what was asked for; ``shortfall`` says what is missing and why, empty if nothing."""

    purchase: str
    tasks: tuple[BoughtTask, ...]
    price: int
    credits: int
    shortfall: str


# --- computing ------------------------------------------------------------------------------------------------------


# --- verdicts -------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True, slots=False)
class Winner:
    """A worker that committed the winning digest; ``delivery_secret`` makes it give up the ciphertext."""

    worker: str
    delivery_secret: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class DisputedResult:
    """What one worker committed to a disputed task, and the secret that makes it give up the ciphertext."""

    worker: str
    digest: bytes
    delivery_secret: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Vote:
    """What one worker committed to a task that was decided, and how far its worker was known then: what the verdict
    was made of (see ``ec262.domain.verification.credibility.Trust``)."""

    worker: str
    digest: bytes
    agreed: float
    recent: float


@attrs.frozen(kw_only=True, slots=False)
class Verdict:
    """A task's state as its foreman sees it. The key is there when it is won, provisional, settled or disputed; digest
    and winners in the first three states, ``results`` in the last. ``committed`` counts the commitments so far,
    whatever they say, and ``outstanding`` the workers who may still commit.

    ``wanted`` is how many more workers the rule asks for, where replicas can be added; ``confidence`` is the rule's, in
    what has won or leads. ``votes`` are there once the task is decided, if they were asked for, in order of arrival,
    and so is ``rule``.
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
        """Whether there is nothing more to wait for but the deadline."""
        return self.state is not TaskState.OPEN or self.outstanding == 0


@attrs.frozen(kw_only=True)
class Verdicts:
    """One verdict for each task asked after that the caller bought and that is not forgotten."""

    verdicts: tuple[Verdict, ...]


@attrs.frozen(kw_only=True)
class VerdictQuery:
    """Ask after tasks that the caller bought. With ``wait_s`` the answer is held back until one of them is decided
    (it is not open any more, or no worker may still commit), that many seconds at most. With ``votes`` it has them."""

    tasks: tuple[str, ...] = attrs.field(validator=id_list(MAX_BATCH))
    votes: bool = False
    wait_s: float = attrs.field(default=0.0, validator=[v.ge(0), v.le(MAX_WAIT_S)])

    def has_news(self, reply: Verdicts) -> bool:
        """Tell whether an answer need not be held back: a task is decided, or not known any more, or none is asked
        after."""
        return (
            not self.tasks
            or len(reply.verdicts) < len(set(self.tasks))
            or any(verdict.decided for verdict in reply.verdicts)
        )


@attrs.frozen(kw_only=True)
class AcceptResults:
    """Let provisional wins of the caller's be wins, which pays them; those whose worker was caught lying since are
    opened again instead."""

    tasks: tuple[str, ...] = attrs.field(validator=id_list(MAX_BATCH))


@attrs.frozen(kw_only=True)
class BuyDisputes:
    """Pay everybody who committed to these tasks, of which no digest won, to see what each committed."""

    tasks: tuple[str, ...] = attrs.field(validator=id_list(MAX_BATCH))


@attrs.frozen(kw_only=True)
class DeliveryReport:
    """This worker won the caller's task, and did not deliver."""

    task: str = attrs.field(validator=an_id)
    worker: str = attrs.field(validator=an_id)


@attrs.frozen(kw_only=True)
class DeliveryReports:
    """Reports about winners that did not deliver; they move no credits."""

    reports: tuple[DeliveryReport, ...] = attrs.field(validator=v.max_len(MAX_BATCH))
