"""All errors that ec262 raises, as one tree.

::

    Ec262Error
    ├── JobError                     the job's author must act
    │   ├── JobDefinitionError       a mapper, reducer, data or input file is missing or malformed
    │   ├── FunctionNotPicklable     a function refers to something that cannot be sent to a worker
    │   ├── ValueNotEncodable        a key or value has a type without a canonical form
    │   ├── KeyNotHashable           a key cannot be a key of a dict
    │   ├── KeyCollision             keys are equal in Python but are different values
    │   ├── UserCodeFailed           one of the job's functions raised an exception
    │   └── TaskLimitExceeded        a task exceeded its time, memory or output limit
    ├── ConfigurationError           the owner of this machine must act
    │   └── SandboxUnavailable       the machine lacks something that the sandbox needs
    ├── InsufficientCredits          the account has too few credits for the job
    ├── NoEligibleWorkers            no worker in the pool can run the job
    ├── TaskAbandoned                a task was bought as often as allowed and never won
    ├── PhaseOver                    a task belongs to a phase that is over, so its result is not needed
    ├── PeerError                    the peer misbehaved or is gone
    │   ├── PeerLost                 the connection failed, ended or went silent
    │   ├── PeerRefused              the peer refused a request and gave a reason
    │   ├── ProtocolViolation        the peer violated the protocol
    │   │   └── MessageTooLarge      a message exceeds the agreed size
    │   ├── VersionMismatch          the peers have no protocol version in common
    │   └── BadDelivery              a result differs from what was committed, or cannot be decrypted
    ├── NotCanonical                 bytes are not the canonical form of any value
    ├── SandboxError                 the sandboxed child produced no result
    │   ├── SandboxLimitExceeded     the child exceeded one of its limits
    │   ├── SandboxCrashed           the child died or violated the sandbox's protocol
    │   └── SandboxBroken            the sandbox itself failed
    ├── ResultNotStored              the worker's result store is full or broken
    ├── SpillFailed                  the place for spilled data is full or broken
    ├── OutputFailed                 a result cannot be written
    ├── LedgerError                  the ledger rejects a transfer: a bug in the service
    └── DiscoveryError               the discovery service did not do what was asked
        ├── DiscoveryUnavailable     it did not answer
        │   └── StorageDamaged       ... and will not until its operator has acted
        └── DiscoveryRefused         it refused; each reason is a subclass with its own ``code``
            ├── InvalidRequest, NotAuthenticated, AccountFrozen, InvitationRefused, TooManyRequests
            ├── UnknownTask, UnknownClient, TaskClosed, CommitmentConflict, AddressUnreachable
            └── PurchaseConflict, PurchaseTooExpensive, LimitReached

Local mistakes (``JobError``, ``ConfigurationError``) and a peer's misbehavior (``PeerError``) are separate branches:
only the latter are handled by trying another peer.
"""

from __future__ import annotations

from ec262.domain.errors.base import Ec262Error
from ec262.domain.errors.discovery_errors import (
    REFUSALS,
    AccountFrozen,
    AddressUnreachable,
    CommitmentConflict,
    DiscoveryError,
    DiscoveryRefused,
    DiscoveryUnavailable,
    InvalidRequest,
    InvitationRefused,
    LedgerError,
    LimitReached,
    NotAuthenticated,
    PurchaseConflict,
    PurchaseTooExpensive,
    StorageDamaged,
    TaskClosed,
    TooManyRequests,
    UnknownClient,
    UnknownTask,
    refusal,
)
from ec262.domain.errors.job_errors import (
    UNCONFIRMED,
    FunctionNotPicklable,
    JobDefinitionError,
    JobError,
    KeyCollision,
    KeyNotHashable,
    TaskLimitExceeded,
    UserCodeFailed,
    ValueNotEncodable,
)
from ec262.domain.errors.key_texts import MAX_INT_BITS, MAX_KEY_CHARS, key_text
from ec262.domain.errors.machine_errors import (
    ConfigurationError,
    OutputFailed,
    ResultNotStored,
    SandboxBroken,
    SandboxCrashed,
    SandboxError,
    SandboxLimitExceeded,
    SandboxUnavailable,
    SpillFailed,
)
from ec262.domain.errors.peer_errors import (
    BadDelivery,
    MessageTooLarge,
    NotCanonical,
    PeerError,
    PeerLost,
    PeerRefused,
    ProtocolViolation,
    VersionMismatch,
)
from ec262.domain.errors.run_errors import InsufficientCredits, NoEligibleWorkers, PhaseOver, TaskAbandoned

__all__ = [
    "MAX_INT_BITS",
    "MAX_KEY_CHARS",
    "REFUSALS",
    "UNCONFIRMED",
    "AccountFrozen",
    "AddressUnreachable",
    "BadDelivery",
    "CommitmentConflict",
    "ConfigurationError",
    "DiscoveryError",
    "DiscoveryRefused",
    "DiscoveryUnavailable",
    "Ec262Error",
    "FunctionNotPicklable",
    "InsufficientCredits",
    "InvalidRequest",
    "InvitationRefused",
    "JobDefinitionError",
    "JobError",
    "KeyCollision",
    "KeyNotHashable",
    "LedgerError",
    "LimitReached",
    "MessageTooLarge",
    "NoEligibleWorkers",
    "NotAuthenticated",
    "NotCanonical",
    "OutputFailed",
    "PeerError",
    "PeerLost",
    "PeerRefused",
    "PhaseOver",
    "ProtocolViolation",
    "PurchaseConflict",
    "PurchaseTooExpensive",
    "ResultNotStored",
    "SandboxBroken",
    "SandboxCrashed",
    "SandboxError",
    "SandboxLimitExceeded",
    "SandboxUnavailable",
    "SpillFailed",
    "StorageDamaged",
    "TaskAbandoned",
    "TaskClosed",
    "TaskLimitExceeded",
    "TooManyRequests",
    "UnknownClient",
    "UnknownTask",
    "UserCodeFailed",
    "ValueNotEncodable",
    "VersionMismatch",
    "key_text",
    "refusal",
]

# Tracebacks and results name an error by its module. That name must not depend on how this package is divided.
for _name in __all__:
    if isinstance(globals()[_name], type):
        globals()[_name].__module__ = __name__
