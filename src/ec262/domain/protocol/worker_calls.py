"""What workers ask of the discovery service, and what it answers; see ``ec262.domain.protocol.foreman_calls``."""

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
    """One item of a batch was refused: ``error`` is the code that it would have had alone."""

    task: str
    error: str
    message: str


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
    ``ec262.domain.work.digests`` for what is compared."""

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
