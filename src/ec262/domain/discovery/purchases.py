"""The record of a purchase, which makes it safe to repeat."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import attrs

from ec262.domain.errors import PurchaseConflict
from ec262.domain.protocol.foreman_calls import AddReplicas, BuyTasks
from ec262.domain.protocol.requirement import Requirement

DIGEST_VERSION = b"ec262 purchase 1\n"
"""Prefix of the hashed bytes: a new way to serialize commands needs a new version."""


@attrs.frozen(kw_only=True)
class PurchaseRecord:
    """What a foreman bought under an id that it created, and the reply that it got: replicas for ``tasks`` tasks, new
    ones or its own open ones (``credits`` is its balance).

    A record of a purchase that moved credits is kept forever, so that its id never moves any again. Another one is
    dropped at ``forgotten_at`` (Unix seconds).
    """

    id: str
    foreman: str
    command_digest: bytes
    tasks: int
    price: int
    credits: int
    shortfall: str
    forgotten_at: float

    def check_repeat(self, command: BuyTasks | AddReplicas, *, foreman: str) -> None:
        """Raise PurchaseConflict unless the command is the recorded one, from the same foreman."""
        if self.foreman != foreman or self.command_digest not in _known_digests(command):
            raise PurchaseConflict(f"the purchase id {self.id} was already used for another purchase")


def command_digest(command: BuyTasks | AddReplicas) -> bytes:
    """Return the SHA-256 digest by which a repeated command is recognized.

    It is stored forever, so it must depend on nothing but the command, not on the release of this package or of a
    library. A field that is added in a later release is included only if it differs from its default.
    """
    return hashlib.sha256(DIGEST_VERSION + json.dumps(_values(command), sort_keys=True).encode()).digest()


def _values(command: BuyTasks | AddReplicas) -> dict[str, Any]:
    values = {
        "purchase": command.purchase,
        "deadline_s": float(command.deadline_s),
        "avoid": list(command.avoid),
    }
    if isinstance(command, AddReplicas):
        return values | {"add": [[order.task, order.replicas] for order in command.orders]}
    python = command.requirement.python
    return values | {
        "buy": command.tasks,
        "rule": command.rule,
        "python": [python.implementation, python.magic, python.cloudpickle, python.version],
        "packages": list(command.requirement.packages),
    }


def _known_digests(command: BuyTasks | AddReplicas) -> tuple[bytes, bytes]:
    """Return the current digest, and the one used before digests had a version. That one was computed from the repr of
    commands, which is written out here, since a repr may change."""
    return command_digest(command), hashlib.sha256(_unversioned(command).encode()).digest()


def _unversioned(command: BuyTasks | AddReplicas) -> str:
    rest = f"deadline_s={command.deadline_s!r}, avoid={command.avoid!r})"
    if isinstance(command, AddReplicas):
        orders = [f"ReplicaOrder(task={order.task!r}, replicas={order.replicas!r})" for order in command.orders]
        listed = f"({', '.join(orders)}{',' if len(orders) == 1 else ''})"
        return f"AddReplicas(purchase={command.purchase!r}, orders={listed}, {rest}"
    return (
        f"BuyTasks(purchase={command.purchase!r}, tasks={command.tasks!r}, rule={command.rule!r}, "
        f"requirement={_unversioned_requirement(command.requirement)}, {rest}"
    )


def _unversioned_requirement(requirement: Requirement) -> str:
    python = requirement.python
    return (
        f"Requirement(python=PythonTag(implementation={python.implementation!r}, magic={python.magic!r}, "
        f"cloudpickle={python.cloudpickle!r}, version={python.version!r}), packages={requirement.packages!r})"
    )
