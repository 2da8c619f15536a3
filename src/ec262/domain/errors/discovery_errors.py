"""Errors of the discovery service: failures, refusals and, for each refusal, its code on the wire."""

from __future__ import annotations

from typing import ClassVar

from ec262.domain.errors.base import Ec262Error


class LedgerError(Ec262Error):
    """The ledger rejects a transfer or does not balance. This is a bug in the service, whatever was requested."""


class DiscoveryError(Ec262Error):
    """The discovery service did not do what was asked."""


class DiscoveryUnavailable(DiscoveryError):
    """The discovery service did not answer. A retry may help."""


class StorageDamaged(DiscoveryUnavailable):
    """The discovery service's storage is corrupt, or its disk fails. Retries are useless until the operator has
    acted."""


class DiscoveryRefused(DiscoveryError):
    """The discovery service refused. ``code`` names the reason on the wire."""

    code: ClassVar[str] = "refused"


class InvalidRequest(DiscoveryRefused):
    """The request is malformed or exceeds a documented limit."""

    code = "invalid_request"


class NotAuthenticated(DiscoveryRefused):
    """The token is missing or opens no account."""

    code = "not_authenticated"


class AccountFrozen(DiscoveryRefused):
    """The operator has frozen the account: it can only be read."""

    code = "account_frozen"


class InvitationRefused(DiscoveryRefused):
    """The invitation does not exist or is used up. Callers cannot tell which."""

    code = "invitation_refused"


class TooManyRequests(DiscoveryRefused):
    """The account or the address makes more requests than the service allows; ``retry_after_s`` is how long to wait."""

    code = "too_many_requests"

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnknownTask(DiscoveryRefused):
    """The task does not exist or does not concern the caller. Callers cannot tell which."""

    code = "unknown_task"


class UnknownClient(DiscoveryRefused):
    """The client does not exist. Only the 2012 API raises this: there, a query opens no account."""

    code = "unknown_client"


class PurchaseConflict(DiscoveryRefused):
    """The purchase id was already used, by another account or for something else."""

    code = "purchase_conflict"


class PurchaseTooExpensive(DiscoveryRefused):
    """The account has too few credits for what would be assigned: ``have`` and ``need`` are credits."""

    code = "insufficient_credits"

    def __init__(self, *, have: int, need: int) -> None:
        super().__init__(f"insufficient credits: have {have}, need {need}")
        self.have = have
        self.need = need


class CommitmentConflict(DiscoveryRefused):
    """The worker has already committed a different digest for this task."""

    code = "commitment_conflict"


class TaskClosed(DiscoveryRefused):
    """The task accepts no more commitments, because its deadline has passed."""

    code = "task_closed"


class AddressUnreachable(DiscoveryRefused):
    """No process with the registered certificate answers at the address that the worker advertised."""

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
"""The refusals that consist of a code and a sentence, by code."""


def refusal(code: str, message: str) -> DiscoveryRefused:
    """Return the error for a refusal; for an unknown code, a ``DiscoveryRefused``."""
    return REFUSALS.get(code, DiscoveryRefused)(message)
