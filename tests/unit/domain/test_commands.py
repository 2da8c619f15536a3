from __future__ import annotations

from typing import Any

import attrs
import pytest

from ec262.domain.commands import (
    DIGEST_BYTES,
    MAX_BATCH,
    MAX_DEADLINE_S,
    MAX_SLOTS,
    MAX_TTL_S,
    Assignment,
    BoughtReplica,
    BuyTasks,
    CommitResult,
    RegisterWorker,
    Requirement,
    TaskState,
    Verdict,
    VerdictQuery,
    Winner,
    WorkerAddress,
)
from ec262.domain.runtime import PythonTag, RuntimeClass

TAG = PythonTag(implementation="cpython", magic=3495, cloudpickle="3.1.0", version="3.11")
RUNTIME = RuntimeClass(python=TAG, machine="x86_64", sandbox="linux", canonical_format=1)
FINGERPRINT = "0a" * 32
ADDRESS = WorkerAddress(host="10.0.0.1", port=11235, fingerprint=FINGERPRINT)
REGISTER = RegisterWorker(port=11235, fingerprint=FINGERPRINT, runtime=RUNTIME)
BUY = BuyTasks(
    purchase="purchase-1", tasks=1, rule="majority:3:2", requirement=Requirement(python=TAG), deadline_s=600.0
)


@pytest.mark.parametrize(
    ("value", "change"),
    [
        *((ADDRESS, {"host": host}) for host in ("", "a b", "a/b", "x" * 254)),
        *((ADDRESS, {"port": port}) for port in (0, 65536)),
        *((ADDRESS, {"fingerprint": text}) for text in ("", "0A" * 32, "0a" * 31, "0a" * 32 + "\n")),
        (REGISTER, {"host": "a b"}),
        (REGISTER, {"port": 0}),
        (REGISTER, {"fingerprint": ""}),
        *((REGISTER, {"packages": packages}) for packages in (("a/b",), ("",), ("a",) * 1001)),
        *((REGISTER, {"slots": slots}) for slots in (0, MAX_SLOTS + 1)),
        *((REGISTER, {"ttl_s": ttl_s}) for ttl_s in (0.5, MAX_TTL_S + 1)),
        *((BUY, {"purchase": text}) for text in ("short", "x" * 65, "with space")),
        *((BUY, {"tasks": tasks}) for tasks in (0, MAX_BATCH + 1)),
        (BUY, {"rule": "majority:3:1"}),
        (BUY, {"rule": "best"}),
        *((BUY, {"deadline_s": deadline_s}) for deadline_s in (0, MAX_DEADLINE_S + 1)),
        (BUY, {"avoid": ("x",)}),
        (CommitResult(task="task-0001", digest=bytes(DIGEST_BYTES)), {"digest": bytes(DIGEST_BYTES - 1)}),
        (CommitResult(task="task-0001", digest=bytes(DIGEST_BYTES)), {"task": "t"}),
        (VerdictQuery(tasks=("task-0001",)), {"tasks": ("task-0001",) * (MAX_BATCH + 1)}),
        (VerdictQuery(tasks=("task-0001",)), {"tasks": ("t",)}),
        (Requirement(python=TAG), {"packages": ("a b",)}),
    ],
)
def test_what_breaks_a_limit_is_refused(value: Any, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        attrs.evolve(value, **change)


def test_secrets_stay_out_of_reprs() -> None:
    secret = b"SECRET"
    values = [
        BoughtReplica(worker="w", address=ADDRESS, secret=secret),
        Assignment(task="t", key=secret, secret=secret, delivery_digest=secret, deadline_in_s=1.0, forgotten_in_s=1.0),
        Winner(worker="w", delivery_secret=secret),
        Verdict(task="t", state=TaskState.WON, committed=2, key=secret),
    ]
    assert not [value for value in values if "SECRET" in repr(value)]
