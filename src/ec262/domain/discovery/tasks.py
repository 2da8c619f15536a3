"""A task at discovery: bought, committed to, won, settled or refunded.

The functions of this module are all rules of tasks: they take a task and an event, and return the new task and the
transfers that belong to it. The caller stores both in one transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from functools import lru_cache

import attrs

from ec262.domain.discovery.fast_evolve import fast_evolve
from ec262.domain.discovery.ledger import SERVICE, Transfer, escrow_account, user_account
from ec262.domain.discovery.task_states import NEXT, RUNNING, Event
from ec262.domain.errors import CommitmentConflict, TaskClosed, UnknownTask
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.reason import Reason
from ec262.domain.verification.credibility import NOTHING_KNOWN, Trust
from ec262.domain.verification.rules import MAX_REPLICAS, Ballot, Finding, parse_rule
from ec262.domain.verification.task_state import TaskState
from ec262.domain.work.runtime import RuntimeClass

KEY_BYTES = 32
"""AES-SIV with 128-bit security takes two AES-128 keys (RFC 5297, section 2.2)."""

SECRET_BYTES = 32

CLAIM_S = 30.0
"""A worker that has not fetched its assignment this long after it was drawn counts as free again."""

CLAIM_FRACTION = 0.1
"""The same as a fraction of the time from the draw to the deadline. The shorter of the two applies: a foreman gets its
credits back at the deadline, and could otherwise block slots again and again with the same credits."""


@attrs.frozen(kw_only=True, slots=False)
class Replica:
    """One worker's part in a task, drawn at ``drawn_at`` (Unix seconds) for a purchase. ``arrival`` is the number of
    its commitment among those of the task, from 0, in the order in which they arrived.

    ``stopped`` means that the committed result is a limit or a crash, ``fetched`` that the worker has fetched its
    assignment, and ``given_up`` that it will not commit, which frees its slot and moves no credits. ``trust`` is the
    trust in the worker when it committed.
    """

    worker: str
    address: WorkerAddress
    purchase: str
    drawn_at: float
    secret: bytes = attrs.field(repr=False)
    delivery_secret: bytes = attrs.field(repr=False)
    digest: bytes | None = None
    arrival: int | None = None
    stopped: bool = False
    paid: bool = False
    given_up: bool = False
    fetched: bool = False
    trust: Trust = NOTHING_KNOWN

    @property
    def outstanding(self) -> bool:
        """Whether the worker may still commit."""
        return self.digest is None and not self.given_up

    def takes_slot(self, now: float, *, deadline: float) -> bool:
        """Tell whether the replica takes one of the worker's slots until its task's deadline. A foreman that buys tasks
        and then sends no work cannot block workers for long."""
        claim_s = min(CLAIM_S, CLAIM_FRACTION * (deadline - self.drawn_at))
        return self.outstanding and (self.fetched or now < self.drawn_at + claim_s)

    @property
    def unused(self) -> bool:
        """Whether the worker has fetched its assignment but has not committed."""
        return self.fetched and self.digest is None

    @property
    def is_late(self) -> bool:
        """Whether the worker may still be computing the task after it was decided."""
        return self.outstanding and self.fetched

    @property
    def delivery_digest(self) -> bytes:
        """The SHA-256 digest of the delivery secret, which is all that the worker may know of it before the win."""
        return hashlib.sha256(self.delivery_secret).digest()


@attrs.frozen(kw_only=True, slots=False)
class Task:
    """A task; ``digest`` is the winning one. ``key`` is None once it was destroyed. All its workers have the same
    ``runtime`` class and can import ``packages``.

    ``deadline`` and ``forgotten_at`` are Unix seconds; a commitment must arrive before the deadline. An ``audited``
    task is not decided by one worker alone. ``confidence`` is the rule's confidence in the winning result. ``released``
    means that the key was released after a win that was withdrawn later: none of its credits return to the foreman.
    ``steered`` means that the foreman could influence the draw: what the task shows about workers counts for that
    foreman only.
    """

    id: str
    foreman: str
    rule: str
    runtime: RuntimeClass
    packages: tuple[str, ...]
    deadline: float
    forgotten_at: float
    key: bytes | None = attrs.field(repr=False)
    replicas: tuple[Replica, ...]
    state: TaskState = TaskState.OPEN
    digest: bytes | None = None
    audited: bool = False
    confidence: float = 0.0
    released: bool = False
    steered: bool = False

    @property
    def escrow(self) -> int:
        """The credits that the task holds: a share for each replica that was not paid."""
        return [replica.paid for replica in self.replicas].count(False) if self.state in RUNNING else 0

    @property
    def won(self) -> bool:
        """Whether the foreman may read key, digest and winners."""
        return self.digest is not None

    @property
    def outstanding(self) -> int:
        """How many workers may still commit."""
        if self.state not in RUNNING:
            return 0
        # The same as Replica.outstanding, without a call for each replica.
        return len([None for replica in self.replicas if replica.digest is None and not replica.given_up])

    @property
    def committed(self) -> int:
        """How many workers have committed."""
        return len(self.replicas) - [replica.digest for replica in self.replicas].count(None)

    @property
    def decided(self) -> bool:
        """Whether the foreman has nothing left to wait for except the deadline."""
        return self.state is not TaskState.OPEN or self.outstanding == 0

    def is_due(self, now: float) -> bool:
        """Tell whether the deadline has passed but was not applied."""
        return self.state in RUNNING and now >= self.deadline

    def replica_of(self, worker: str) -> Replica:
        """Return the worker's replica. Raises UnknownTask if it has none."""
        for replica in self.replicas:
            if replica.worker == worker:
                return replica
        raise unknown_task(self.id)

    def running_key(self) -> bytes:
        """Return the key. Raises TaskClosed if workers may no longer commit."""
        if self.key is None or self.state not in RUNNING:
            raise TaskClosed(f"the deadline of task {self.id} has passed, or its foreman has ended it")
        return self.key

    def ballots(self) -> list[Ballot]:
        """Return the commitments in order of arrival."""
        return [Ballot(digest=digest, trust=trust) for _, digest, trust in self._arrived()]

    def commitments(self) -> list[bytes]:
        """Return the committed digests in order of arrival."""
        return [ballot.digest for ballot in self.ballots()]

    def finding(self) -> Finding:
        """Return the finding of the task's rule. A rule only considers which digests are equal, so tasks whose workers
        agreed in the same way are adjudicated only once."""
        places: dict[bytes, int] = {}
        alike = tuple([(places.setdefault(digest, len(places)), trust) for _, digest, trust in self._arrived()])
        found = _finding(self.rule, alike, self.outstanding, self.audited)
        if found.digest is None:
            return found
        digest = list(places)[found.digest[0]]
        return Finding(digest=digest, confidence=found.confidence, alone=found.alone, wanted=found.wanted)

    def _arrived(self) -> list[tuple[int, bytes, Trust]]:
        return sorted([(r.arrival, r.digest, r.trust) for r in self.replicas if r.arrival is not None and r.digest])


@lru_cache(maxsize=4096)
def _finding(rule: str, ballots: tuple[tuple[int, Trust], ...], outstanding: int, audited: bool) -> Finding:  # noqa: FBT001 - lru_cache is faster with positional arguments
    """Return the finding of a rule for ballots in order of arrival, whose digests are replaced by numbers of one
    byte."""
    told = [Ballot(digest=bytes([place]), trust=trust) for place, trust in ballots]
    return parse_rule(rule).find(told, outstanding=outstanding, audited=audited)


def unknown_task(task: str) -> UnknownTask:
    """Return the same error for a task that does not exist and for one that the caller has no part in."""
    return UnknownTask(f"unknown task {task}")


def purchase_transfer(task: Task, *, purchase: str, at: float) -> Transfer:
    """Return the transfer that pays for a task's replicas of one purchase: a credit for each, from the foreman into
    escrow."""
    return Transfer(
        id=f"purchase:{task.id}:{purchase}",
        debit=user_account(task.foreman),
        credit=escrow_account(task.id),
        amount=sum(replica.purchase == purchase for replica in task.replicas),
        reason=Reason.PURCHASE,
        task=task.id,
        at=at,
    )


def room_for(task: Task, *, replicas: int, now: float) -> bool:
    """Tell whether this number of replicas may be added: before its deadline and up to the limit, to an open task, or
    to one that is provisionally won, whose foreman wants it checked."""
    fits = len(task.replicas) + replicas <= MAX_REPLICAS
    return task.state in {TaskState.OPEN, TaskState.PROVISIONAL} and not task.is_due(now) and fits


def add_replicas(task: Task, replicas: tuple[Replica, ...], *, deadline: float, steered: bool = False) -> Task:
    """Add workers to a task; their draw may have been ``steered``. If ``deadline`` is later than the task's deadline,
    both deadline and ``forgotten_at`` are postponed by the difference. Raises TaskClosed."""
    later_s = max(0.0, deadline - task.deadline)
    return fast_evolve(
        _advance(task, Event.REPLICAS),
        replicas=task.replicas + replicas,
        steered=task.steered or steered,
        deadline=task.deadline + later_s,
        forgotten_at=task.forgotten_at + later_s,
    )


def fetch(task: Task, *, worker: str) -> Task:
    """Record that a worker has fetched its assignment. Raises UnknownTask, or TaskClosed if it is too late to
    commit."""
    replica = task.replica_of(worker)
    task.running_key()
    return task if replica.fetched else _with_replica(task, fast_evolve(replica, fetched=True))


def commit(
    task: Task,
    *,
    worker: str,
    digest: bytes,
    stopped: bool = False,
    now: float,
    trust: Trust = NOTHING_KNOWN,
    liars: Collection[str] = frozenset(),
) -> tuple[Task, tuple[Transfer, ...]]:
    """Record the commitment of a worker with the given trust, and adjudicate. ``liars`` are workers of the task that
    were caught lying since they were drawn: until there is a final win, their commitments have no weight.

    The first digest that satisfies the rule wins, and every equal commitment before the deadline is paid. A win by one
    worker alone is provisional: another commitment may confirm it or reopen the task. Raises UnknownTask (not
    assigned), CommitmentConflict (another digest was committed before), TaskClosed (too late).
    """
    replica = task.replica_of(worker)
    if replica.digest == digest:
        return task, ()
    if replica.digest is not None:
        raise CommitmentConflict(f"this worker has already committed another digest for task {task.id}")
    if replica.given_up:
        raise TaskClosed(f"this worker has already given up task {task.id}")
    if task.is_due(now):
        raise TaskClosed(f"the deadline of task {task.id} has passed")
    committed = _with_replica(
        task, fast_evolve(replica, digest=digest, arrival=task.committed, stopped=stopped, trust=trust)
    )
    if task.state is TaskState.WON:
        return _pay_winners(_advance(committed, Event.COMMITMENT), at=now)
    return _adjudicate(_advance(distrust(committed, liars), Event.COMMITMENT), now)


def _adjudicate(task: Task, now: float) -> tuple[Task, tuple[Transfer, ...]]:
    finding = task.finding()
    if finding.digest is None:
        return (task if task.state is TaskState.OPEN else _reopened(task)), ()
    event = Event.LONE_WIN if finding.alone else Event.WIN
    won = fast_evolve(task, state=_next(task, event), digest=finding.digest, confidence=finding.confidence)
    return (won, ()) if finding.alone else _pay_winners(won, at=now)


def accept(task: Task, *, now: float) -> tuple[Task, tuple[Transfer, ...]]:
    """Turn a provisional win into a win, and pay it. Raises TaskClosed."""
    return _pay_winners(_advance(task, Event.ACCEPTANCE), at=now)


def distrust(task: Task, workers: Collection[str]) -> Task:
    """Reset the trust in workers of a task that were caught lying since they were drawn."""
    if not workers or all(each.trust == NOTHING_KNOWN or each.worker not in workers for each in task.replicas):
        return task
    replicas = (fast_evolve(r, trust=NOTHING_KNOWN) if r.worker in workers else r for r in task.replicas)
    return fast_evolve(task, replicas=tuple(replicas))


def doubt(task: Task) -> Task:
    """Reopen a task whose only supporter was caught lying, and reset the trust in it. Raises TaskClosed."""
    return distrust(_reopened(task), [each.worker for each in task.replicas if each.digest == task.digest])


def _reopened(task: Task) -> Task:
    return fast_evolve(_advance(task, Event.DOUBT), digest=None, audited=True, released=True, confidence=0.0)


def give_up(task: Task, *, worker: str) -> Task:
    """Record that a worker will not commit; its share stays in escrow until a win or the deadline.

    A second surrender, or one after a commitment, changes nothing. Raises UnknownTask (not assigned), TaskClosed (too
    late).
    """
    replica = task.replica_of(worker)
    if not replica.outstanding:
        return task
    return _with_replica(_advance(task, Event.SURRENDER), fast_evolve(replica, given_up=True))


def expire(task: Task, *, now: float) -> tuple[Task, tuple[Transfer, ...]]:
    """Apply the deadline; before it, nothing happens. A provisional win is accepted. What a won task did not pay is
    kept by the service. The escrow of a task that nobody won is refunded and its key destroyed, unless the foreman
    already has the key: then the escrow is kept, too. For workers that waited for work, or did not finish it, half of
    the shares are kept. Raises TaskClosed if the deadline was already applied."""
    after = _advance(task, Event.DEADLINE)
    if now < task.deadline:
        return task, ()
    if task.state is TaskState.PROVISIONAL:
        return _expire_won(*accept(task, now=now), now=now)
    if task.won:
        return _expire_won(task, (), now=now)
    after = fast_evolve(after, key=None)
    if task.released:
        after = fast_evolve(after, state=TaskState.LAPSED)
        return after, (_to_service(task, task.escrow, id=f"deadline:{task.id}", at=now),)
    unused = [replica.unused for replica in task.replicas].count(True)
    kept = -(-unused // 2)  # credits are integers; round up, so that blocking a single worker is never free
    moves = (_to_service(task, kept, id=f"unused:{task.id}", at=now),) if kept else ()
    if task.escrow == kept:
        return after, moves
    to, reason = user_account(task.foreman), Reason.REFUND
    return after, (*moves, _from_escrow(task, to, task.escrow - kept, reason, id=f"deadline:{task.id}", at=now))


def _expire_won(task: Task, paid: tuple[Transfer, ...], *, now: float) -> tuple[Task, tuple[Transfer, ...]]:
    after = _advance(task, Event.DEADLINE)
    if task.escrow == 0:
        return after, paid
    return after, (*paid, _to_service(task, task.escrow, id=f"deadline:{task.id}", at=now))


def can_be_disputed(task: Task, *, now: float) -> bool:
    """Tell whether the foreman may buy the dispute: at least one worker has committed, none may still commit, none won,
    and the refund is not due."""
    waits = task.state is TaskState.OPEN and not task.is_due(now)
    return waits and task.outstanding == 0 and bool(task.commitments())


def dispute(task: Task, *, now: float) -> tuple[Task, tuple[Transfer, ...]]:
    """Pay all workers that committed, although none won. The shares of those that gave up are kept by the service, as
    after a win: a foreman that gets a key gets no credits back. Raises TaskClosed."""
    after = _advance(task, Event.DISPUTE)
    if not can_be_disputed(task, now=now):
        raise TaskClosed(f"task {task.id} cannot be disputed: workers may still commit, or none has committed")
    payees = [replica for replica in task.replicas if replica.digest is not None]
    after, transfers = _pay(after, payees, Reason.DISPUTE, now)
    rest = task.escrow - len(transfers)
    if rest:
        transfers += (_to_service(task, rest, id=f"dispute:{task.id}", at=now),)
    return after, transfers


def _advance(task: Task, event: Event) -> Task:
    state = _next(task, event)
    return task if state is task.state else fast_evolve(task, state=state)


def _next(task: Task, event: Event) -> TaskState:
    state = NEXT.get((task.state, event))
    if state is None:
        raise TaskClosed(f"task {task.id} is {task.state.value} and no longer takes {event.value}")
    return state


def _with_replica(task: Task, replica: Replica) -> Task:
    replicas = [replica if each.worker == replica.worker else each for each in task.replicas]
    return fast_evolve(task, replicas=tuple(replicas))


def _pay_winners(task: Task, *, at: float) -> tuple[Task, tuple[Transfer, ...]]:
    """Pay every unpaid replica that committed the winning digest."""
    payees = [replica for replica in task.replicas if replica.digest == task.digest and not replica.paid]
    return _pay(task, payees, Reason.WIN, at)


def _pay(task: Task, payees: Sequence[Replica], reason: Reason, at: float) -> tuple[Task, tuple[Transfer, ...]]:
    transfers = [
        _from_escrow(task, user_account(each.worker), 1, reason, id=f"{reason.value}:{task.id}:{each.worker}", at=at)
        for each in payees
    ]
    paid = [replica.worker for replica in payees]
    replicas = [fast_evolve(each, paid=True) if each.worker in paid else each for each in task.replicas]
    return fast_evolve(task, replicas=tuple(replicas)), tuple(transfers)


def _to_service(task: Task, amount: int, *, id: str, at: float) -> Transfer:  # noqa: A002 - as the field is named
    return _from_escrow(task, SERVICE, amount, Reason.UNPAID, id=id, at=at)


def _from_escrow(task: Task, to: str, amount: int, reason: Reason, *, id: str, at: float) -> Transfer:  # noqa: A002 - likewise
    source = escrow_account(task.id)
    return Transfer(id=id, debit=source, credit=to, amount=amount, reason=reason, task=task.id, at=at)
