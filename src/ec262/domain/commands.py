"""What foremen and workers ask of the discovery service, and what it answers: the bodies of the ``/v1`` API.

The same frozen classes are the arguments of the use cases, the JSON bodies that clients send and the schemas in the
OpenAPI document. Times are seconds; a duration is counted from the moment of the reply, so that no two clocks need to
agree. Bytes travel as standard Base64. Secrets do not appear in a repr.
"""

from __future__ import annotations

import enum

import attrs
from attrs import validators as v

from ec262.domain.runtime import PythonTag, RuntimeClass
from ec262.domain.shapes import a_digest, a_fingerprint, a_host, a_port, a_rule, an_id, id_list, package_list
from ec262.domain.verification import MAX_REPLICAS

MAX_BATCH = 1000
"""Most tasks that one call may buy or ask after."""

MAX_ORDERS = 100
"""Most tasks to which one call may add replicas."""

MIN_TTL_S, MAX_TTL_S = 1, 24 * 3600
MAX_DEADLINE_S = 24 * 3600
MAX_WAIT_S = 60
"""Longest time that discovery holds an answer back until there is news."""
MAX_SLOTS = 1024


@attrs.frozen(kw_only=True, slots=False)
class TaskRefusal:
    """One item of a batch was refused: ``error`` is the code that it would have had alone."""

    task: str
    error: str
    message: str


# --- workers --------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class WorkerAddress:
    """Where a worker listens, and the SHA-256 of its TLS certificate (hexadecimal), which is all that proves it."""

    host: str = attrs.field(validator=a_host)
    port: int = attrs.field(validator=a_port)
    fingerprint: str = attrs.field(validator=a_fingerprint)


@attrs.frozen(kw_only=True)
class RegisterWorker:
    """Join the pool or renew the lease. ``host`` None means the address that the request came from."""

    host: str | None = attrs.field(default=None, validator=v.optional(a_host))
    port: int = attrs.field(validator=a_port)
    fingerprint: str = attrs.field(validator=a_fingerprint)
    runtime: RuntimeClass
    packages: tuple[str, ...] = attrs.field(default=(), validator=package_list)
    slots: int = attrs.field(default=1, validator=[v.ge(1), v.le(MAX_SLOTS)])
    ttl_s: float = attrs.field(default=60.0, validator=[v.ge(MIN_TTL_S), v.le(MAX_TTL_S)])


@attrs.frozen(kw_only=True)
class Lease:
    """A place in the pool: renew it before ``expires_in_s`` is over. ``replaced`` is where the same account was in the
    pool until now, with another certificate: by a process that has ended since, or by one that shares the account."""

    worker: str
    address: WorkerAddress
    expires_in_s: float
    replaced: WorkerAddress | None = None


# --- buying ---------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Requirement:
    """What a worker must have to be drawn: the foreman's Python, and importable packages (top-level names)."""

    python: PythonTag
    packages: tuple[str, ...] = attrs.field(default=(), validator=package_list)


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


@attrs.frozen(kw_only=True, slots=False)
class Assignment:
    """A replica as its worker sees it: the task's key, the secret that the foreman must show before work is taken, and
    SHA-256 of the secret that it must show before a result is given up. Others assigned are not told.

    ``won`` says that the task was won before this worker committed: nobody waits for its result any more.
    """

    task: str
    key: bytes = attrs.field(repr=False)
    secret: bytes = attrs.field(repr=False)
    delivery_digest: bytes = attrs.field(repr=False)
    deadline_in_s: float
    forgotten_in_s: float
    won: bool = False


@attrs.frozen(kw_only=True)
class AssignmentQuery:
    """Ask for one's own part in tasks."""

    tasks: tuple[str, ...] = attrs.field(validator=id_list(MAX_BATCH))


@attrs.frozen(kw_only=True)
class Assignments:
    """What the caller is assigned of the tasks it asked after, and why not the others."""

    assignments: tuple[Assignment, ...]
    refused: tuple[TaskRefusal, ...]


@attrs.frozen(kw_only=True, slots=False)
class Commitment:
    """SHA-256(ciphertext) of a task's result. ``stopped`` says that the result is a limit that the task hit, or its
    crash: it wins and is paid like any other, but to differ in it is no lie, since machines have different sizes. See
    ``ec262.domain.digests`` for what is compared."""

    task: str = attrs.field(validator=an_id)
    digest: bytes = attrs.field(validator=a_digest)
    stopped: bool = False


@attrs.frozen(kw_only=True)
class CommitResults:
    """Commit to results, each once: the same digest again is fine, another is refused."""

    commitments: tuple[Commitment, ...] = attrs.field(validator=v.max_len(MAX_BATCH))


@attrs.frozen(kw_only=True)
class Committed:
    """These commitments were taken; whether they won is not told."""

    tasks: tuple[str, ...]
    refused: tuple[TaskRefusal, ...]


@attrs.frozen(kw_only=True)
class GiveUp:
    """Tell that no result will be committed for these tasks."""

    tasks: tuple[str, ...] = attrs.field(validator=id_list(MAX_BATCH))


@attrs.frozen(kw_only=True)
class GivenUp:
    """The caller's slots for these tasks are free."""

    tasks: tuple[str, ...]
    refused: tuple[TaskRefusal, ...]


# --- verdicts -------------------------------------------------------------------------------------------------------


class TaskState(enum.Enum):
    """States of a task at discovery: open until a digest wins or the deadline passes.

    ``provisional`` is a task that one worker's word has decided: it is won when its foreman accepts it or its deadline
    passes, and open again if that worker was caught lying before. ``lapsed`` is one that was opened again and that
    nobody won: since its key is known, its credits are kept by the service.

    ``settled`` is a won task after its deadline: unpaid shares have gone to the service. ``refunded`` is a task that
    nobody won: its escrow is back, less half of the shares of workers that asked for their part and did not commit, and
    its key destroyed. ``disputed`` is one whose foreman paid all who committed,
    although no digest won, to see what they committed.
    """

    OPEN = "open"
    PROVISIONAL = "provisional"
    WON = "won"
    SETTLED = "settled"
    DISPUTED = "disputed"
    REFUNDED = "refunded"
    LAPSED = "lapsed"

    __hash__ = object.__hash__
    """There is one object of each. Enum's own hash is Python's, and a batch looks up thousands of states."""


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
    was made of (see ``ec262.domain.credibility.Trust``)."""

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
