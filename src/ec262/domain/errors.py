"""Every error that ec262 raises, one tree.

::

    Ec262Error
    ├── JobError                     the author of the job has to act
    │   ├── JobDefinitionError       a mapper, reducer, data or input file is missing or malformed
    │   ├── FunctionNotPicklable     a function holds something that cannot travel
    │   ├── ValueNotEncodable        a key or value has a type without a canonical form
    │   ├── KeyNotHashable           a key that no dict takes
    │   ├── KeyCollision             keys that Python takes for equal but that are not the same value
    │   ├── UserCodeFailed           the job's own function raised
    │   └── TaskLimitExceeded        a task ran out of time, memory or output
    ├── ConfigurationError           the owner of this machine has to act
    │   └── SandboxUnavailable       the machine lacks what the sandbox must have
    ├── InsufficientCredits          the purse is too small for the job
    ├── NoEligibleWorkers            nobody in the pool can run the job
    ├── TaskAbandoned                a task was bought again as often as allowed and never won
    ├── PeerError                    the machine at the other end misbehaved or is gone
    │   ├── PeerLost                 the connection ended, could not be made, or went silent
    │   ├── PeerRefused              the peer said no, with its reason
    │   ├── ProtocolViolation        the peer sent what the protocol does not allow
    │   │   └── MessageTooLarge      ... or more of it than was agreed
    │   ├── VersionMismatch          no protocol version in common
    │   └── BadDelivery              a result that is not what was committed, or cannot be opened
    ├── SandboxError                 the sandboxed child did not give a result
    │   ├── SandboxLimitExceeded     it hit one of its limits
    │   ├── SandboxCrashed           it died, or broke the sandbox's protocol
    │   └── SandboxBroken            the sandbox itself could not run it
    ├── ResultNotStored              the worker's store of results is full or broken
    ├── SpillFailed                  the place for what memory does not hold is full or broken
    ├── PhaseOver                    a task belongs to a phase of its job that is over: nobody needs it any more


    ├── OutputFailed                 a result cannot be written
    ├── NotCanonical                 bytes that are not the canonical form of any value
    ├── LedgerError                  the books refuse a movement: a defect of the service, nobody's request
    └── DiscoveryError               the discovery service could not do what was asked
        ├── DiscoveryUnavailable     it did not answer
        │   └── StorageDamaged       ... and will not until its operator has acted
        └── DiscoveryRefused         it answered no; one subclass a reason, each with its ``code``
            ├── InvalidRequest, NotAuthenticated, AccountFrozen, InvitationRefused, TooManyRequests
            ├── UnknownTask, UnknownClient, TaskClosed, CommitmentConflict, AddressUnreachable
            └── PurchaseConflict, PurchaseTooExpensive, LimitReached

Local mistakes (``JobError``, ``ConfigurationError``) and a peer's misbehaviour (``PeerError``) are different
branches: only the latter are answered by trying another peer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import ClassVar

from ec262.domain.terminal import printable

MAX_KEY_CHARS = 200

UNCONFIRMED = " (according to one worker, and no other was available to confirm it)"


MAX_INT_BITS = 14_000
"""The largest int that is written in digits, 4214 of them: to write them takes time that grows with their square."""


def key_text(key: object) -> str:
    """Return a key as an error's text names it: its repr, cut to ``MAX_KEY_CHARS``. No more is looked at of a
    container than that shows."""
    text = ""
    try:
        for piece in _pieces(key):
            text += piece
            if len(text) > MAX_KEY_CHARS:
                return f"{text[:MAX_KEY_CHARS]}..."
    except (ValueError, RecursionError):  # what a container of somebody's own may raise
        return f"<{type(key).__name__}>"
    return text


def _pieces(value: object) -> Iterator[str]:
    """Yield the repr of a value in pieces, none of which is empty."""
    match value:
        case int() if type(value) is int and value.bit_length() > MAX_INT_BITS:
            yield "<int>"
        case list() if type(value) is list:
            yield from _joined("[", map(_pieces, value), "]")
        case tuple() if type(value) is tuple:
            yield from _joined("(", map(_pieces, value), ",)" if len(value) == 1 else ")")
        case set() if value and type(value) is set:
            yield from _joined("{", map(_pieces, value), "}")
        case frozenset() if value and type(value) is frozenset:
            yield from _joined("frozenset({", map(_pieces, value), "})")
        case dict() if type(value) is dict:
            yield from _joined("{", (chain(_pieces(each), [": "], _pieces(value[each])) for each in value), "}")
        case _:
            yield repr(value)


def _joined(start: str, items: Iterable[Iterable[str]], end: str) -> Iterator[str]:
    yield start
    for number, item in enumerate(items):
        if number:
            yield ", "
        yield from item
    yield end


class Ec262Error(Exception):
    """Root of the tree; its text is a sentence for a person. Strangers' words in it do not act on a terminal."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*[printable(each) if isinstance(each, str) else each for each in arguments])


class JobError(Ec262Error):
    """The author of the job has to act."""


class JobDefinitionError(JobError):
    """A mapper, reducer, data or input file is missing or malformed."""

    def unconfirmed(self) -> JobDefinitionError:
        """Return the same, as the word of one worker."""
        return JobDefinitionError(f"{self}{UNCONFIRMED}")


class FunctionNotPicklable(JobError):
    """A function of the job holds something that cannot travel to a worker."""


class ValueNotEncodable(JobError):
    """A key or value has a type without a canonical form.

    ``type_name`` is the offending type, ``where`` the path to it inside the value (such as ``[2]['a']``).
    """

    def __init__(self, reason: str, *, type_name: str, where: str = "") -> None:
        super().__init__(f"{reason}{f' (at {where})' if where else ''}")
        self.reason = reason
        self.type_name = type_name
        self.where = where


class KeyNotHashable(JobError):
    """A key that no dict takes, as a list: a job's result is a dict. ``confirmed`` is as in ``UserCodeFailed``."""

    def __init__(self, reason: str, *, confirmed: bool = True) -> None:
        super().__init__(f"{reason}{'' if confirmed else UNCONFIRMED}")
        self.reason = reason
        self.confirmed = confirmed

    def unconfirmed(self) -> KeyNotHashable:
        """Return the same, as the word of one worker."""
        return KeyNotHashable(self.reason, confirmed=False)


class KeyCollision(JobError):
    """Two keys are equal to Python (``1 == True == 1.0``) but are not the same value. ``where`` says who yielded them,
    as far as that is known; ``confirmed`` is as in ``UserCodeFailed``."""

    def __init__(self, first: object, second: object, *, where: str = "", confirmed: bool = True) -> None:
        yielded = f"{where} yielded keys that are equal in Python but are different values" if where else ""
        both = f"{key_text(first)} ({type(first).__name__}) and {key_text(second)} ({type(second).__name__})"
        what = f"{yielded}: {both}" if where else f"the keys {both} are equal in Python but are different values"
        super().__init__(f"{what}{'' if confirmed else UNCONFIRMED}; {_advice_on_keys(first, second)}")
        self.first = first
        self.second = second
        self.where = where
        self.confirmed = confirmed

    def unconfirmed(self) -> KeyCollision:
        """Return the same, as the word of one worker."""
        return KeyCollision(self.first, self.second, where=self.where, confirmed=False)

    def yielded_by(self, where: str) -> KeyCollision:
        """Return the same, saying who yielded the keys."""
        return KeyCollision(self.first, self.second, where=where, confirmed=self.confirmed)


def _advice_on_keys(first: object, second: object) -> str:
    """Say how to make two keys that are equal one value."""
    if type(first) is not type(second):
        return "use keys of one type"
    if isinstance(first, float | complex):
        return "add 0 to such keys, which makes -0.0 a 0.0"
    return "use values of one type in them, and 0.0 instead of -0.0"


class UserCodeFailed(JobError):
    """The job's own function raised.

    ``exception`` is the qualified type name, ``row`` the key of the row as text (None when the failure was not in a
    row, as at loading), ``frames`` the job's own frames, outermost first, as (function, line), ``report`` the
    traceback as text, behind what the task printed, and ``message`` the exception's own text (neither is covered by the
    digest: they vary between honest machines). ``exception_type`` is the class of the exception, where ``run_job``
    raises this and the class is known here. ``confirmed`` is False where one worker says so whom nobody could be had to
    contradict.
    """

    def __init__(
        self,
        *,
        function: str,
        exception: str,
        row: str | None,
        frames: tuple[tuple[str, int], ...],
        report: str,
        message: str = "",
        confirmed: bool = True,
    ) -> None:
        where = f" at the row with key {row}" if row is not None else ""
        doubt = "" if confirmed else UNCONFIRMED
        super().__init__(f"the {function} raised {exception}{where}{doubt}{f': {message}' if message else ''}")
        self.function = function
        self.exception = exception
        self.row = row
        self.frames = frames
        self.report = report
        self.message = message
        self.confirmed = confirmed
        self.exception_type: type[BaseException] | None = None

    def unconfirmed(self) -> UserCodeFailed:
        """Return the same, as the word of one worker."""
        return UserCodeFailed(
            function=self.function,
            exception=self.exception,
            row=self.row,
            frames=self.frames,
            report=self.report,
            message=self.message,
            confirmed=False,
        )


class TaskLimitExceeded(JobError):
    """A task ran out of a limit (``cpu``, ``wall``, ``memory``, ``output``) on the workers that computed it."""

    def __init__(self, *, task: str, limit: str, detail: str, confirmed: bool = True) -> None:
        super().__init__(f"{task} exceeded its {limit} limit{'' if confirmed else UNCONFIRMED}: {detail}")
        self.task = task
        self.limit = limit
        self.detail = detail
        self.confirmed = confirmed

    def unconfirmed(self) -> TaskLimitExceeded:
        """Return the same, as the word of one worker."""
        return TaskLimitExceeded(task=self.task, limit=self.limit, detail=self.detail, confirmed=False)


class ConfigurationError(Ec262Error):
    """The owner of this machine has to act."""


class SandboxUnavailable(ConfigurationError):
    """The machine lacks what the sandbox must have; the text says what and how to get it."""


class InsufficientCredits(Ec262Error):
    """The purse is too small: ``have`` and ``need`` are credits."""

    def __init__(self, *, have: int, need: int, why: str = "") -> None:
        super().__init__(f"insufficient credits: have {have}, need {need}{f' ({why})' if why else ''}")
        self.have = have
        self.need = need
        self.why = why


class NoEligibleWorkers(Ec262Error):
    """Nobody in the pool can run the job; the text says who is there and what they lack."""


class TaskAbandoned(Ec262Error):
    """A task was bought as often as allowed and never won; ``history`` has a line for each replica, ``hint`` may say
    what to look for."""

    def __init__(self, *, task: str, attempts: int, history: tuple[str, ...], hint: str = "") -> None:
        lines = "".join(f"\n  {line}" for line in (*history, hint) if line)
        super().__init__(f"{task} was bought {attempts} times and never came to a result:{lines}")
        self.task = task
        self.attempts = attempts
        self.history = history


class PeerError(Ec262Error):
    """The machine at the other end misbehaved or is gone."""


class PeerLost(PeerError):
    """The connection ended, could not be made, or went silent."""


class PeerRefused(PeerError):
    """The peer said no; the text is its reason (data from a stranger, already cut to a safe length)."""


class ProtocolViolation(PeerError):
    """The peer sent what the protocol does not allow."""


class MessageTooLarge(ProtocolViolation):
    """The peer announced more bytes than was agreed."""


class VersionMismatch(PeerError):
    """No protocol version in common."""


class BadDelivery(PeerError):
    """A delivered result is not what was committed, or cannot be opened with the task's key."""


class SandboxError(Ec262Error):
    """The sandboxed child did not give a result."""


class SandboxLimitExceeded(SandboxError):
    """The child hit ``limit``: one of ``cpu``, ``wall``, ``memory``, ``output``."""

    def __init__(self, limit: str, detail: str) -> None:
        super().__init__(f"{limit} limit exceeded: {detail}")
        self.limit = limit
        self.detail = detail


class SandboxCrashed(SandboxError):
    """The child died, or broke the sandbox's own protocol."""


class SandboxBroken(SandboxError):
    """The sandbox could not run the child; that says nothing about the job."""


class ResultNotStored(Ec262Error):
    """The worker's store of results is full or broken."""


class SpillFailed(Ec262Error):
    """The place for what a foreman's memory does not hold is full or broken."""


class PhaseOver(Ec262Error):
    """A task belongs to a phase of its job that is over. Nobody needs it any more: it is no reason to end the job."""


class OutputFailed(Ec262Error):
    """A result cannot be written: the disk is full, or standard output is closed."""


class NotCanonical(Ec262Error):
    """Bytes that are not the canonical form of any value."""


class LedgerError(Ec262Error):
    """The books refuse a movement of credits, or do not balance: a defect of the service, nobody's request."""


class DiscoveryError(Ec262Error):
    """The discovery service could not do what was asked."""


class DiscoveryUnavailable(DiscoveryError):
    """The discovery service did not answer; trying again later may help."""


class StorageDamaged(DiscoveryUnavailable):
    """The discovery service's storage is corrupt, or its disk fails: to try again is of no use until the operator has
    acted."""


class DiscoveryRefused(DiscoveryError):
    """The discovery service answered no. ``code`` names the reason on the wire."""

    code: ClassVar[str] = "refused"


class InvalidRequest(DiscoveryRefused):
    """The request is malformed or breaks a stated limit."""

    code = "invalid_request"


class NotAuthenticated(DiscoveryRefused):
    """No token, or one that no account has."""

    code = "not_authenticated"


class AccountFrozen(DiscoveryRefused):
    """The operator has frozen the account: it may look, and nothing else."""

    code = "account_frozen"


class InvitationRefused(DiscoveryRefused):
    """No such invitation, or nothing is left of it: the two look the same from outside."""

    code = "invitation_refused"


class TooManyRequests(DiscoveryRefused):
    """The account, or the address, asks more often than the service allows; ``retry_after_s`` says when to go on."""

    code = "too_many_requests"

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnknownTask(DiscoveryRefused):
    """No such task, or none of the caller's business: the two look the same from outside."""

    code = "unknown_task"


class UnknownClient(DiscoveryRefused):
    """No such client; of the 2012 API alone, where asking opens no account."""

    code = "unknown_client"


class PurchaseConflict(DiscoveryRefused):
    """The purchase id was used before, by another account or for something else."""

    code = "purchase_conflict"


class PurchaseTooExpensive(DiscoveryRefused):
    """The purse does not cover what would be assigned: ``have`` and ``need`` are credits."""

    code = "insufficient_credits"

    def __init__(self, *, have: int, need: int) -> None:
        super().__init__(f"insufficient credits: have {have}, need {need}")
        self.have = have
        self.need = need


class CommitmentConflict(DiscoveryRefused):
    """The worker committed another digest for this task before."""

    code = "commitment_conflict"


class TaskClosed(DiscoveryRefused):
    """The task takes no commitments any more: its deadline passed."""

    code = "task_closed"


class AddressUnreachable(DiscoveryRefused):
    """Nobody with the registered certificate answers at the address that the worker advertised."""

    code = "address_unreachable"


class LimitReached(DiscoveryRefused):
    """The account holds as much as the service allows."""

    code = "limit_reached"


REFUSALS: dict[str, type[DiscoveryRefused]] = {
    refusal.code: refusal
    for refusal in (
        InvalidRequest,
        NotAuthenticated,
        AccountFrozen,
        InvitationRefused,
        TooManyRequests,
        UnknownTask,
        PurchaseConflict,
        CommitmentConflict,
        TaskClosed,
        AddressUnreachable,
        LimitReached,
    )
}
"""The refusals that a sentence tells in full, by code."""


def refusal(code: str, message: str) -> DiscoveryRefused:
    """Make the error that stands for a refusal; of a code that is not known, the class of all."""
    return REFUSALS.get(code, DiscoveryRefused)(message)
