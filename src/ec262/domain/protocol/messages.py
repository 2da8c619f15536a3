"""The messages between a foreman and a worker, protocol version 3.

::

    foreman                               worker
    Hello(versions)            ------>
                               <------    Welcome(version)         or Refused(task="")
    Assign(task, secret)       ------>                             asks discovery for its assignment, compares
                               <------    Ready(task)              or Refused(task)
    Compute(task, work)        ------>                             checks the work hash, runs, encrypts, commits
                               <------    Committed(task)          or Failed(task) or Refused(task)
    Deliver(task, secret)      ------>                             (also on a later connection)
                               <------    Delivered(task)          or Refused(task)

Several tasks may be in progress on one connection; replies name their task. A worker accepts nothing large from a peer
that has not shown an assignment secret.
"""

from __future__ import annotations

import attrs
from attrs import validators as v

from ec262.domain.protocol.shapes import Validator
from ec262.domain.terminal import one_line
from ec262.domain.values.rounding import MAX_DIGITS
from ec262.domain.work.work import Limits, Phase
from ec262.domain.work.work_hash import NONCE_BYTES, WORK_HASH_BYTES, WorkBinding

PROTOCOL_VERSIONS = (3,)
"""The versions that this release supports, best first."""

MAX_REASON_CHARS = 1000

_task = v.matches_re(r"[A-Za-z0-9_-]{0,64}")
_secret: Validator = v.and_(v.min_len(16), v.max_len(64))
_reason: Validator = v.max_len(MAX_REASON_CHARS)
_work_hash: Validator = v.and_(v.min_len(WORK_HASH_BYTES), v.max_len(WORK_HASH_BYTES))
_nonce: Validator = v.and_(v.min_len(NONCE_BYTES), v.max_len(NONCE_BYTES))


@attrs.frozen(kw_only=True)
class Hello:
    """The foreman's first message: the protocol versions it supports, best first, and its release, for the log."""

    versions: tuple[int, ...] = attrs.field(validator=v.max_len(16))
    release: str = attrs.field(validator=v.max_len(64))


@attrs.frozen(kw_only=True)
class Welcome:
    """The worker's reply: the version that it chose."""

    version: int
    release: str = attrs.field(validator=v.max_len(64))


@attrs.frozen(kw_only=True)
class Assign:
    """Announce a task, and prove with ``secret`` that it is assigned to the worker."""

    task: str = attrs.field(validator=_task)
    secret: bytes = attrs.field(repr=False, validator=_secret)


@attrs.frozen(kw_only=True)
class Ready:
    """The worker has the assignment and room for the task, so the foreman may send the work."""

    task: str = attrs.field(validator=_task)


@attrs.frozen(kw_only=True)
class Refused:
    """A refusal with its reason. ``task`` is empty if the whole connection is refused."""

    task: str = attrs.field(validator=_task)
    reason: str = attrs.field(converter=one_line, validator=_reason)


@attrs.frozen(kw_only=True)
class Compute:
    """The work of a task (see ``ec262.domain.work.work.Work``). ``functions`` and ``rows`` are sent as payload. If
    ``unpacked_bytes`` is not 0, ``rows`` are packed (see ``ec262.domain.work.packing``), and this is their size when
    unpacked.

    ``work_hash`` is computed by the foreman (see ``ec262.domain.work.work_hash``) and checked by the worker. The result
    is bound to it, so results of different work never agree. ``nonce`` is the foreman's half of the result's key, the
    same for all workers of the task.
    """

    task: str = attrs.field(validator=_task)
    work_hash: bytes = attrs.field(validator=_work_hash)
    nonce: bytes = attrs.field(repr=False, validator=_nonce)
    phase: Phase
    seed: int = attrs.field(validator=[v.ge(0), v.lt(1 << 63)])
    limits: Limits
    round_floats: int = attrs.field(default=0, validator=[v.ge(0), v.le(MAX_DIGITS)])
    unpacked_bytes: int = attrs.field(default=0, validator=v.ge(0))
    functions: bytes = attrs.field(repr=False)
    rows: bytes = attrs.field(repr=False)

    @property
    def binding(self) -> WorkBinding:
        """What the result is bound to."""
        return WorkBinding(work_hash=self.work_hash, nonce=self.nonce)


@attrs.frozen(kw_only=True)
class Committed:
    """The worker has committed the result at discovery. ``took_s`` is how many seconds of wall time the computation
    took, according to the worker. The foreman uses it only to size its next tasks."""

    task: str = attrs.field(validator=_task)
    took_s: float = attrs.field(default=0.0, eq=False, validator=v.ge(0))


@attrs.frozen(kw_only=True)
class Failed:
    """The worker has no result, for a reason of its own. The job controls no part of the text."""

    task: str = attrs.field(validator=_task)
    reason: str = attrs.field(converter=one_line, validator=_reason)


@attrs.frozen(kw_only=True)
class Deliver:
    """Request a result that won."""

    task: str = attrs.field(validator=_task)
    secret: bytes = attrs.field(repr=False, validator=_secret)


@attrs.frozen(kw_only=True)
class Delivered:
    """The encrypted outcome, whose SHA-256 was committed, and the encrypted log, which is not compared."""

    task: str = attrs.field(validator=_task)
    ciphertext: bytes = attrs.field(repr=False)
    log: bytes = attrs.field(repr=False)


Message = Hello | Welcome | Assign | Ready | Refused | Compute | Committed | Failed | Deliver | Delivered
