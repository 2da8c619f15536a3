"""The ``/v1`` API as a table: what may be asked, of whom, and how errors read on the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from ec262.domain import errors
from ec262.domain.commands import (
    AccountStatus,
    Assignment,
    BuyTasks,
    CommitResult,
    Committed,
    Lease,
    PoolQuery,
    PoolStatus,
    Purchase,
    RegisterWorker,
    VerdictQuery,
    Verdicts,
)
from ec262.services.discovery import DiscoveryService


@attrs.frozen(kw_only=True)
class Call:
    """One request: who asks, from where, for which task (where the path names one), and the decoded body."""

    token: str = attrs.field(repr=False)
    source: str
    task: str
    body: Any


@attrs.frozen(kw_only=True)
class Route:
    """One line of the API. ``errors`` are those that any route's own rules add to ``COMMON_ERRORS``."""

    method: str
    path: str
    summary: str
    handle: Callable[[DiscoveryService, Call], object]
    request: type | None = None
    reply: type | None = None
    errors: tuple[type[errors.DiscoveryRefused], ...] = ()


@attrs.frozen(kw_only=True)
class ErrorBody:
    """Every reply that is not 2xx. ``error`` is a code for programs, ``message`` a sentence for people; ``have`` and
    ``need`` are credits, there with ``insufficient_credits`` alone."""

    error: str
    message: str
    have: int | None = None
    need: int | None = None


ROUTES = (
    Route(
        method="POST",
        path="/v1/account",
        summary="Open the account of the bearer token, which the client makes, or find it again.",
        handle=lambda service, call: service.open_account(call.token),
        reply=AccountStatus,
    ),
    Route(
        method="PUT",
        path="/v1/worker",
        summary="Join the pool of workers, or renew the lease.",
        handle=lambda service, call: service.register(call.token, call.body, source=call.source),
        request=RegisterWorker,
        reply=Lease,
        errors=(errors.AddressUnreachable,),
    ),
    Route(
        method="DELETE",
        path="/v1/worker",
        summary="Leave the pool; what was assigned stays assigned.",
        handle=lambda service, call: service.leave(call.token),
    ),
    Route(
        method="POST",
        path="/v1/pool",
        summary="Ask who could be drawn now, and why others could not.",
        handle=lambda service, call: service.pool(call.token, call.body),
        request=PoolQuery,
        reply=PoolStatus,
    ),
    Route(
        method="POST",
        path="/v1/purchases",
        summary="Buy a batch of tasks: workers are drawn, and their credits move into escrow.",
        handle=lambda service, call: service.buy(call.token, call.body),
        request=BuyTasks,
        reply=Purchase,
        errors=(errors.PurchaseTooExpensive, errors.PurchaseConflict, errors.LimitReached),
    ),
    Route(
        method="GET",
        path="/v1/assignments/{task}",
        summary="Read one's own part in a task: its key, and the secrets that prove the assignment.",
        handle=lambda service, call: service.assignment(call.token, call.task),
        reply=Assignment,
        errors=(errors.UnknownTask, errors.TaskClosed),
    ),
    Route(
        method="DELETE",
        path="/v1/assignments/{task}",
        summary="Give one's own part in a task up: the slot is free, and the share stays in escrow.",
        handle=lambda service, call: service.give_up(call.token, call.task),
        errors=(errors.UnknownTask, errors.TaskClosed),
    ),
    Route(
        method="POST",
        path="/v1/commitments",
        summary="Commit the SHA-256 of an encrypted result, once.",
        handle=lambda service, call: service.commit(call.token, call.body),
        request=CommitResult,
        reply=Committed,
        errors=(errors.UnknownTask, errors.CommitmentConflict, errors.TaskClosed),
    ),
    Route(
        method="POST",
        path="/v1/verdicts",
        summary="Ask after tasks that one bought; key, digest and winners are told once there is a win.",
        handle=lambda service, call: service.verdicts(call.token, call.body),
        request=VerdictQuery,
        reply=Verdicts,
    ),
)

COMMON_ERRORS: tuple[type[errors.DiscoveryRefused], ...] = (errors.InvalidRequest, errors.NotAuthenticated)

STATUS: dict[type[errors.DiscoveryRefused], int] = {
    errors.InvalidRequest: 400,
    errors.NotAuthenticated: 401,
    errors.PurchaseTooExpensive: 402,
    errors.UnknownTask: 404,
    errors.PurchaseConflict: 409,
    errors.CommitmentConflict: 409,
    errors.TaskClosed: 409,
    errors.LimitReached: 409,
    errors.AddressUnreachable: 422,
}
"""HTTP statuses of refusals; 404, never 403, for what is not the caller's business."""
