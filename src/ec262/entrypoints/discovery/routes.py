"""The ``/v1`` API as a table: its calls, their handlers, and errors on the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from ec262.domain import errors
from ec262.domain.errors import DiscoveryRefused
from ec262.domain.protocol.account_calls import AccountStatus, History, HistoryQuery, OpenAccount, ReplaceToken
from ec262.domain.protocol.foreman_calls import (
    AcceptResults,
    AddReplicas,
    BuyDisputes,
    BuyTasks,
    DeliveryReports,
    PoolQuery,
    PoolStatus,
    Purchase,
    VerdictQuery,
    Verdicts,
)
from ec262.domain.protocol.worker_calls import (
    AssignmentQuery,
    Assignments,
    CommitmentsTaken,
    CommitResults,
    GivenUp,
    GiveUp,
    Lease,
    RegisterWorker,
)
from ec262.services.discovery.discovery_service import DiscoveryService


@attrs.frozen(kw_only=True)
class Call:
    """One request: the caller's token, its source address, and the decoded body."""

    token: str = attrs.field(repr=False)
    source: str
    body: Any


@attrs.frozen(kw_only=True)
class Route:
    """One route of the API. ``errors`` are added to ``COMMON_ERRORS`` by the route's own rules; ``item_errors`` refuse
    single items of a batch within a successful reply."""

    method: str
    path: str
    summary: str
    handle: Callable[[DiscoveryService, Call], object]
    request: type | None = None
    reply: type | None = None
    errors: tuple[type[DiscoveryRefused], ...] = ()
    item_errors: tuple[type[DiscoveryRefused], ...] = ()


@attrs.frozen(kw_only=True)
class ErrorBody:
    """Every reply that is not 2xx. ``error`` is a code for programs, ``message`` a sentence for people; ``have`` and
    ``need`` are credits, present only with ``insufficient_credits``."""

    error: str
    message: str
    have: int | None = None
    need: int | None = None


_PURCHASE_ERRORS = (
    errors.PurchaseTooExpensive,
    errors.PurchaseConflict,
    errors.LimitReached,
    errors.AccountFrozen,
)

ROUTES = (
    Route(
        method="POST",
        path="/v1/account",
        summary="Open the account of the bearer token, which the client makes, or return it if it exists.",
        handle=lambda service, call: service.accounts.open(call.token, call.body),
        request=OpenAccount,
        reply=AccountStatus,
        errors=(errors.InvitationRefused, errors.AccountFrozen),
    ),
    Route(
        method="GET",
        path="/v1/account",
        summary="Return the state of the account.",
        handle=lambda service, call: service.accounts.status(call.token),
        reply=AccountStatus,
    ),
    Route(
        method="DELETE",
        path="/v1/account",
        summary="Revoke the token and so close the account.",
        handle=lambda service, call: service.accounts.close(call.token),
        errors=(errors.AccountFrozen,),
    ),
    Route(
        method="PUT",
        path="/v1/account/token",
        summary="Replace the account's token with another one.",
        handle=lambda service, call: service.accounts.replace_token(call.token, call.body),
        request=ReplaceToken,
        errors=(errors.AccountFrozen,),
    ),
    Route(
        method="POST",
        path="/v1/history",
        summary="Return every movement of the account's credits with an explanation, newest first.",
        handle=lambda service, call: service.accounts.history(call.token, call.body),
        request=HistoryQuery,
        reply=History,
    ),
    Route(
        method="PUT",
        path="/v1/worker",
        summary="Join the pool of workers, or renew the lease.",
        handle=lambda service, call: service.workers.register(call.token, call.body, source=call.source),
        request=RegisterWorker,
        reply=Lease,
        errors=(errors.AddressUnreachable, errors.AccountFrozen),
    ),
    Route(
        method="DELETE",
        path="/v1/worker",
        summary="Leave the pool of workers.",
        handle=lambda service, call: service.workers.leave(call.token),
    ),
    Route(
        method="POST",
        path="/v1/pool",
        summary="Return which workers could be drawn now.",
        handle=lambda service, call: service.foremen.pool(call.token, call.body),
        request=PoolQuery,
        reply=PoolStatus,
    ),
    Route(
        method="POST",
        path="/v1/purchases",
        summary="Buy tasks: workers are drawn, and the replicas' credits move into escrow.",
        handle=lambda service, call: service.foremen.buy(call.token, call.body),
        request=BuyTasks,
        reply=Purchase,
        errors=_PURCHASE_ERRORS,
    ),
    Route(
        method="POST",
        path="/v1/replicas",
        summary="Add workers to open tasks: the task and its key stay the same, the deadline is later.",
        handle=lambda service, call: service.foremen.add_replicas(call.token, call.body),
        request=AddReplicas,
        reply=Purchase,
        errors=_PURCHASE_ERRORS,
    ),
    Route(
        method="POST",
        path="/v1/assignments",
        summary="Return the caller's assignments: the tasks' keys, and the secrets that prove them.",
        handle=lambda service, call: service.workers.assignments(call.token, call.body),
        request=AssignmentQuery,
        reply=Assignments,
        errors=(errors.AccountFrozen,),
        item_errors=(errors.UnknownTask, errors.TaskClosed),
    ),
    Route(
        method="POST",
        path="/v1/surrenders",
        summary="Give up the caller's part in tasks: its slots become free, and its shares stay in escrow.",
        handle=lambda service, call: service.workers.give_up(call.token, call.body),
        request=GiveUp,
        reply=GivenUp,
        errors=(errors.AccountFrozen,),
        item_errors=(errors.UnknownTask, errors.TaskClosed),
    ),
    Route(
        method="POST",
        path="/v1/commitments",
        summary="Commit the SHA-256 of encrypted results, once per task.",
        handle=lambda service, call: service.workers.commit(call.token, call.body),
        request=CommitResults,
        reply=CommitmentsTaken,
        errors=(errors.AccountFrozen,),
        item_errors=(errors.UnknownTask, errors.CommitmentConflict, errors.TaskClosed),
    ),
    Route(
        method="POST",
        path="/v1/verdicts",
        summary="Return the verdicts of the caller's tasks, or wait for news; the keys to results come after a win.",
        handle=lambda service, call: service.foremen.verdicts(call.token, call.body),
        request=VerdictQuery,
        reply=Verdicts,
    ),
    Route(
        method="POST",
        path="/v1/acceptances",
        summary="Accept provisional wins, which pays their workers.",
        handle=lambda service, call: service.foremen.accept(call.token, call.body),
        request=AcceptResults,
        reply=Verdicts,
        errors=(errors.AccountFrozen,),
    ),
    Route(
        method="POST",
        path="/v1/disputes",
        summary="Pay all workers that committed to tasks without a winner, to see what each of them committed.",
        handle=lambda service, call: service.foremen.dispute(call.token, call.body),
        request=BuyDisputes,
        reply=Verdicts,
        errors=(errors.AccountFrozen,),
    ),
    Route(
        method="POST",
        path="/v1/reports",
        summary="Report winners that did not deliver.",
        handle=lambda service, call: service.foremen.report(call.token, call.body),
        request=DeliveryReports,
        errors=(errors.AccountFrozen,),
    ),
)

COMMON_ERRORS: tuple[type[DiscoveryRefused], ...] = (
    errors.InvalidRequest,
    errors.NotAuthenticated,
    errors.TooManyRequests,
)

STATUS: dict[type[DiscoveryRefused], int] = {
    errors.InvalidRequest: 400,
    errors.NotAuthenticated: 401,
    errors.PurchaseTooExpensive: 402,
    errors.AccountFrozen: 403,
    errors.InvitationRefused: 404,
    errors.UnknownTask: 404,
    errors.PurchaseConflict: 409,
    errors.CommitmentConflict: 409,
    errors.TaskClosed: 409,
    errors.LimitReached: 409,
    errors.AddressUnreachable: 422,
    errors.TooManyRequests: 429,
}
"""HTTP statuses of refusals; 404 rather than 403 hides tasks of others from the caller."""
