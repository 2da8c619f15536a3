"""Calls of workers to discovery, and the replies. See ``ec262.domain.protocol.foreman_calls`` for conventions."""

from __future__ import annotations

import attrs
from attrs import validators as v

from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.limits import (
    MAX_BATCH,
    MAX_SLOTS,
    MAX_TTL_S,
    MIN_TTL_S,
)
from ec262.domain.protocol.shapes import a_digest, a_fingerprint, a_host, a_port, an_id, id_list, package_list
from ec262.domain.work.runtime import RuntimeClass


@attrs.frozen(kw_only=True, slots=False)
class TaskRefusal:
    """A task of a batch that was refused. ``error`` is the code that a call for this task alone would have returned."""

    task: str
    error: str
    message: str


@attrs.frozen(kw_only=True)
class RegisterWorker:
    """Join the pool or renew the lease. Without ``host``, the worker is registered at the address that the request came
    from."""

    host: str | None = attrs.field(default=None, validator=v.optional(a_host))
    port: int = attrs.field(validator=a_port)
    fingerprint: str = attrs.field(validator=a_fingerprint)
    runtime: RuntimeClass
    packages: tuple[str, ...] = attrs.field(default=(), validator=package_list)
    slots: int = attrs.field(default=1, validator=[v.ge(1), v.le(MAX_SLOTS)])
    ttl_s: float = attrs.field(default=60.0, validator=[v.ge(MIN_TTL_S), v.le(MAX_TTL_S)])


@attrs.frozen(kw_only=True)
class Lease:
    """A place in the pool, which must be renewed within ``expires_in_s``. ``replaced`` is the address at which the same
    account was in the pool until now with another certificate: that of a process that has ended, or of one that shares
    the account."""

    worker: str
    address: WorkerAddress
    expires_in_s: float
    replaced: WorkerAddress | None = None


@attrs.frozen(kw_only=True, slots=False)
class Assignment:
    """A replica as its worker sees it: the task's ``key``, the ``secret`` that the foreman must show before the worker
    accepts work, and the SHA-256 of the secret that it must show before the worker delivers the result. The other
    workers of the task are not named.

    ``won`` is true if the task was won before this worker committed, so that its result is not needed.
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
    """A request for the caller's assignments for these tasks."""

    tasks: tuple[str, ...] = attrs.field(validator=id_list(MAX_BATCH))


@attrs.frozen(kw_only=True)
class Assignments:
    """The caller's assignments for the requested tasks, and the reasons why the others were refused."""

    assignments: tuple[Assignment, ...]
    refused: tuple[TaskRefusal, ...]


@attrs.frozen(kw_only=True, slots=False)
class Commitment:
    """The SHA-256 of a task's encrypted result. ``stopped`` marks a result that is a limit or a crash. Such a result
    wins and is paid like any other, but a worker that commits it and loses has not lied, since machines have different
    capacities."""

    task: str = attrs.field(validator=an_id)
    digest: bytes = attrs.field(validator=a_digest)
    stopped: bool = False


@attrs.frozen(kw_only=True)
class CommitResults:
    """Commit results. Each task has one commitment: repeating it is allowed, changing it is refused."""

    commitments: tuple[Commitment, ...] = attrs.field(validator=v.max_len(MAX_BATCH))


@attrs.frozen(kw_only=True)
class CommitmentsTaken:
    """The tasks whose commitments were accepted, whether or not they won, and those that were refused."""

    tasks: tuple[str, ...]
    refused: tuple[TaskRefusal, ...]


@attrs.frozen(kw_only=True)
class GiveUp:
    """Surrender these tasks: no result will be committed for them."""

    tasks: tuple[str, ...] = attrs.field(validator=id_list(MAX_BATCH))


@attrs.frozen(kw_only=True)
class GivenUp:
    """The tasks whose slots are free again, and those that were refused."""

    tasks: tuple[str, ...]
    refused: tuple[TaskRefusal, ...]
