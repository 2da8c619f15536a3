from __future__ import annotations

from typing import Any

import attrs
import pytest

from ec262.domain.protocol.account_calls import MAX_HISTORY, HistoryQuery, OpenAccount, ReplaceToken
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.foreman_calls import (
    AddReplicas,
    BoughtReplica,
    BuyDisputes,
    BuyTasks,
    DeliveryReport,
    DeliveryReports,
    DisputedResult,
    ReplicaOrder,
    Verdict,
    VerdictQuery,
    Verdicts,
    Winner,
)
from ec262.domain.protocol.limits import MAX_BATCH, MAX_DEADLINE_S, MAX_ORDERS, MAX_SLOTS, MAX_TTL_S, MAX_WAIT_S
from ec262.domain.protocol.requirement import Requirement
from ec262.domain.protocol.shapes import DIGEST_BYTES
from ec262.domain.protocol.worker_calls import (
    Assignment,
    AssignmentQuery,
    Commitment,
    CommitResults,
    GiveUp,
    RegisterWorker,
)
from ec262.domain.verification.rules import MAX_REPLICAS
from ec262.domain.verification.task_state import TaskState
from ec262.domain.work.runtime import PythonTag, RuntimeClass

TAG = PythonTag(implementation="cpython", magic=3495, cloudpickle="3.1", version="3.11")
RUNTIME = RuntimeClass(python=TAG, machine="x86_64", sandbox="linux", canonical_format=1)
FINGERPRINT = "0a" * 32
ADDRESS = WorkerAddress(host="10.0.0.1", port=11235, fingerprint=FINGERPRINT)
REGISTER = RegisterWorker(port=11235, fingerprint=FINGERPRINT, runtime=RUNTIME)
BUY = BuyTasks(
    purchase="purchase-1", tasks=1, rule="majority:3:2", requirement=Requirement(python=TAG), deadline_s=600.0
)
COMMITMENT = Commitment(task="task-0001", digest=bytes(DIGEST_BYTES))
ORDERS = tuple(ReplicaOrder(task=f"task-{number:04}") for number in range(MAX_ORDERS + 1))
ADD = AddReplicas(purchase="purchase-1", orders=ORDERS[:1], deadline_s=600.0)
REPORT = DeliveryReport(task="task-0001", worker="worker-01")
TOO_MANY = ("task-0001",) * (MAX_BATCH + 1)
TOKEN = "t" * 32


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
        *((COMMITMENT, {"digest": bytes(size)}) for size in (DIGEST_BYTES - 1, DIGEST_BYTES + 1)),
        (COMMITMENT, {"task": "t"}),
        (CommitResults(commitments=()), {"commitments": (COMMITMENT,) * (MAX_BATCH + 1)}),
        *(
            (kind(tasks=("task-0001",)), {"tasks": tasks})
            for kind in (AssignmentQuery, GiveUp, VerdictQuery, BuyDisputes)
            for tasks in (TOO_MANY, ("t",))
        ),
        *((VerdictQuery(tasks=()), {"wait_s": wait_s}) for wait_s in (-1, MAX_WAIT_S + 1)),
        *((ADD, {"orders": orders}) for orders in ((), ORDERS, ORDERS[:1] * 2)),
        *((ADD, {"deadline_s": deadline_s}) for deadline_s in (0, MAX_DEADLINE_S + 1)),
        *((ADD, change) for change in ({"purchase": "p"}, {"avoid": ("x",)})),
        *((ORDERS[0], change) for change in ({"task": "t"}, {"replicas": 0}, {"replicas": MAX_REPLICAS + 1})),
        *((REPORT, change) for change in ({"task": "t"}, {"worker": "w"})),
        (DeliveryReports(reports=()), {"reports": (REPORT,) * (MAX_BATCH + 1)}),
        (OpenAccount(), {"invitation": "t" * 31}),
        (ReplaceToken(token=TOKEN), {"token": "t" * 31}),
        (HistoryQuery(), {"before": 0}),
        *((HistoryQuery(), {"limit": limit}) for limit in (0, MAX_HISTORY + 1)),
        (Requirement(python=TAG), {"packages": ("a b",)}),
    ],
)
def test_values_beyond_a_limit_are_refused(value: Any, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        attrs.evolve(value, **change)


def test_secrets_stay_out_of_reprs() -> None:
    secret = b"SECRET"
    values = [
        BoughtReplica(worker="w", address=ADDRESS, secret=secret),
        Assignment(task="t", key=secret, secret=secret, delivery_digest=secret, deadline_in_s=1.0, forgotten_in_s=1.0),
        Winner(worker="w", delivery_secret=secret),
        DisputedResult(worker="w", digest=b"", delivery_secret=secret),
        Verdict(task="t", state=TaskState.WON, committed=2, outstanding=0, key=secret),
        OpenAccount(invitation="SECRET" * 6),
        ReplaceToken(token="SECRET" * 6),
    ]
    assert not [value for value in values if "SECRET" in repr(value)]


def open_verdict(task: str, *, outstanding: int) -> Verdict:
    return Verdict(task=task, state=TaskState.OPEN, committed=0, outstanding=outstanding)


@pytest.mark.parametrize(
    ("verdicts", "news"),
    [
        ((open_verdict("task-0001", outstanding=1), open_verdict("task-0002", outstanding=3)), False),
        ((open_verdict("task-0001", outstanding=1), open_verdict("task-0002", outstanding=0)), True),
        ((open_verdict("task-0001", outstanding=1),), True),
        ((), True),
        (
            (
                open_verdict("task-0001", outstanding=1),
                Verdict(task="task-0002", state=TaskState.WON, committed=2, outstanding=1),
            ),
            True,
        ),
    ],
    ids=["all open", "nobody may commit", "one unknown", "none known", "one won"],
)
def test_there_is_news_when_a_task_is_decided_or_unknown(verdicts: tuple[Verdict, ...], news: bool) -> None:  # noqa: FBT001 - drawn
    query = VerdictQuery(tasks=("task-0001", "task-0002", "task-0001"), wait_s=60)
    assert query.has_news(Verdicts(verdicts=verdicts)) is news


def test_an_empty_query_does_not_wait() -> None:
    assert VerdictQuery(tasks=(), wait_s=60).has_news(Verdicts(verdicts=()))


@pytest.mark.parametrize("value", [REGISTER, Requirement(python=TAG)])
def test_names_of_packages_have_few_characters_in_all(value: Any) -> None:
    full = tuple(f"{number:064}" for number in range(64))
    assert attrs.evolve(value, packages=full).packages == full
    with pytest.raises(ValueError, match="have 4097 characters in total: at most 4096 are allowed"):
        attrs.evolve(value, packages=(*full, "a"))
