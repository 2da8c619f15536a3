"""Receipts: the evidence for a job's verdicts, so that anyone can check them again, and the job's costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import attrs

from ec262.domain.foreman.run.job_history import Purchased, TaskHistory
from ec262.domain.protocol.foreman_calls import Verdict, Vote
from ec262.domain.protocol.shapes import DIGEST_BYTES
from ec262.domain.verification.credibility import Trust
from ec262.domain.verification.rules import MAX_REPLICAS, Ballot, Finding, VerificationRule, parse_rule
from ec262.domain.verification.task_state import TaskState

DECIDED = frozenset({TaskState.WON, TaskState.SETTLED})

_MOST_AGREED = 1e12
"""More agreements than any worker can have."""

_MOST_CHARS = 200
"""The maximum length of a name, id or rule."""

_PAID_ANYWAY = frozenset({TaskState.DISPUTED})


@attrs.frozen(kw_only=True)
class TaskReceipt:
    """One purchase of a task: its ``rule``, its verdict, and the ``votes`` in order of arrival.

    ``name`` is the foreman's name for the task ("map task 3"), ``task`` its id at discovery. ``replicas`` is the number
    of workers drawn, each of which costs a credit. ``confidence`` is the probability that the winning digest is right,
    given what is known of its supporters.
    """

    name: str
    task: str
    rule: str
    replicas: int
    state: TaskState
    audited: bool = False
    confidence: float = 0.0
    digest: bytes | None = None
    votes: tuple[Vote, ...] = ()

    @property
    def paid(self) -> int:
        """The credits paid to workers for it."""
        if self.state in _PAID_ANYWAY:
            return len(self.votes)
        return sum(vote.digest == self.digest for vote in self.votes) if self.state in DECIDED else 0

    @property
    def returned(self) -> int:
        """The maximum of credits that were refunded, or will be at the deadline: discovery keeps a part of the shares
        of workers that asked for their part and did not commit."""
        return self.replicas if self.state in {TaskState.OPEN, TaskState.REFUNDED} else 0


@attrs.frozen(kw_only=True)
class JobReceipt:
    """All purchases of a job, in the order of its tasks, including those that were given up. The credits of a ``local``
    job are not counted."""

    verify: str
    seed: int
    tasks: tuple[TaskReceipt, ...]
    local: bool = False

    @property
    def won(self) -> tuple[TaskReceipt, ...]:
        """The purchases whose results make up the job's result."""
        return tuple(task for task in self.tasks if task.state in DECIDED)

    @property
    def summary(self) -> Summary:
        """The totals of the job."""
        won = self.won
        executions = sum(task.replicas for task in self.tasks)
        return Summary(
            tasks=len(won),
            executions=executions,
            executions_per_task=executions / len(won) if won else 0.0,
            expected_error=sum(1 - task.confidence for task in won) / len(won) if won else 0.0,
            paid=sum(task.paid for task in self.tasks),
            returned=sum(task.returned for task in self.tasks),
            dissenting=sum(vote.digest != task.digest for task in won for vote in task.votes),
            audited=sum(task.audited for task in won),
        )


@attrs.frozen(kw_only=True)
class Summary:
    """``expected_error`` is the mean probability that a task's result is wrong; ``paid`` credits went to workers, and
    at most ``returned`` credits to the foreman (the service kept the rest); ``dissenting`` counts commitments to
    something other than the winning result, ``audited`` the audited tasks."""

    tasks: int
    executions: int
    executions_per_task: float
    expected_error: float
    paid: int
    returned: int
    dissenting: int
    audited: int


def job_receipt(history: Sequence[TaskHistory], *, verify: str, seed: int, local: bool = False) -> JobReceipt:
    """Return the receipt for the history of a job's tasks; ``verify`` is the rule that the user requested."""
    tasks = (_task_receipt(str(task.name), purchase) for task in history for purchase in task.purchases)
    return JobReceipt(verify=verify, seed=seed, tasks=tuple(tasks), local=local)


def _task_receipt(name: str, purchase: Purchased) -> TaskReceipt:
    """Return the receipt for discovery's last verdict on a purchase; if discovery has forgotten it, there is no
    evidence."""
    verdict = purchase.verdict or Verdict(task=purchase.task, state=TaskState.REFUNDED, committed=0, outstanding=0)
    return TaskReceipt(
        name=name,
        task=verdict.task,
        rule=purchase.rule,  # as requested, whatever rule discovery states
        replicas=len(purchase.replicas),
        state=verdict.state,
        audited=bool(verdict.audited),
        confidence=verdict.confidence,
        digest=verdict.digest,
        votes=verdict.votes,
    )


def check_ranges(receipt: JobReceipt) -> None:
    """Raise ValueError if a number or text in a receipt from an untrusted source is invalid."""
    _check_length("verify", receipt.verify)
    for task in receipt.tasks:
        for what, text in (("name", task.name), ("task", task.task), ("rule", task.rule)):
            _check_length(what, text)
        for vote in task.votes:
            _check_length("worker", vote.worker)
        for digest in (task.digest, *(vote.digest for vote in task.votes)):
            if digest is not None and len(digest) != DIGEST_BYTES:
                raise ValueError(f"{task.name}: a digest has {DIGEST_BYTES} bytes, not {len(digest)}")
        _check_range(f"{task.name}: replicas", task.replicas, MAX_REPLICAS)
        _check_range(f"{task.name}: votes", len(task.votes), task.replicas)
        _check_range(f"{task.name}: confidence", task.confidence, 1)
        for vote in task.votes:
            _check_range(f"{task.name}: agreed", vote.agreed, _MOST_AGREED)
            _check_range(f"{task.name}: recent", vote.recent, _MOST_AGREED)


def _check_length(what: str, text: str) -> None:
    if len(text) > _MOST_CHARS:
        raise ValueError(f"{what} has {len(text)} characters: at most {_MOST_CHARS} are allowed")


def _check_range(what: str, value: float, most: float) -> None:
    if not 0 <= value <= most:  # also true for NaN
        raise ValueError(f"{what} must be from 0 to {most:g}, not {value:g}")


def recheck(receipt: JobReceipt, requested: str) -> list[str]:
    """Adjudicate every decided task again from its votes, by the ``requested`` rule; if the user requested a plan of
    their own, by the rule that the receipt states. Return a sentence for each verdict that the votes do not support.

    Raises ValueError if a number in the receipt is out of range.
    """
    check_ranges(receipt)
    try:
        rule = parse_rule(requested)
    except ValueError:
        rule = None
    times = Counter(task.task for task in receipt.won)
    twice = [f"task {task} is listed {count} times" for task, count in times.items() if count > 1]
    return [*twice, *(doubt for task in receipt.won for doubt in _doubts(task, rule))]


def _doubts(task: TaskReceipt, requested: VerificationRule | None) -> Sequence[str]:
    try:
        rule = parse_rule(task.rule)
    except ValueError as error:
        return (f"{task.name}: {error}",)
    if requested is not None and rule != requested:
        return (f"{task.name}: decided by {task.rule}, but {requested.spec} was requested",)
    if len({vote.worker for vote in task.votes}) < len(task.votes):
        return (f"{task.name}: a worker voted twice",)
    finding = _first_win(task, rule)
    if finding.digest is None:
        return (f"{task.name}: its votes do not satisfy {task.rule}",)
    if finding.digest != task.digest:
        return (f"{task.name}: its votes satisfy {task.rule} for another digest",)
    return ()


def _first_win(task: TaskReceipt, rule: VerificationRule) -> Finding:
    """Return the rule's finding for the first votes that suffice: later ones do not change a win."""
    ballots = [Ballot(digest=vote.digest, trust=Trust(agreed=vote.agreed, recent=vote.recent)) for vote in task.votes]
    finding = Finding()
    for count in range(1, len(ballots) + 1):
        # Outstanding votes make no difference to a win.
        finding = rule.find(ballots[:count], outstanding=0, audited=task.audited)
        if finding.digest is not None and not (finding.alone and count < len(ballots)):
            return finding
    return finding
