from __future__ import annotations

import pytest

from ec262.domain.errors import LedgerError, PurchaseTooExpensive, UnknownTask
from ec262.domain.legacy_2012 import ledger_2012
from ec262.domain.legacy_2012.addresses_2012 import Endpoint2012
from ec262.domain.legacy_2012.clients_2012 import Client
from ec262.domain.legacy_2012.constants_2012 import Constants2012
from ec262.domain.legacy_2012.ledger_2012 import Entry, Reason2012, Totals
from ec262.domain.legacy_2012.parameters_2012 import LEAVE_S, Registration
from ec262.domain.legacy_2012.tasks_2012 import Task2012, is_task_id

TEAM = tuple(Endpoint2012(addr=f"10.1.0.{number}", port=number) for number in (1, 2, 3))
TASK = Task2012(id="t", foreman="10.0.0.1", key=b"k" * 16, expires_at=9.0, workers=TEAM)


def test_the_constants_are_those_of_2012() -> None:
    constants = Constants2012()
    assert (constants.starting_credits, constants.workers_a_task, constants.price) == (12, 3, 3)
    assert (constants.default_port, constants.lease_s, constants.task_ttl_s) == (26262, 60, 86_400)
    assert constants.key_bytes == 16


def test_a_task_costs_what_its_workers_get() -> None:
    assert Constants2012(workers_a_task=5).price == 5


# --- records --------------------------------------------------------------------------------------------------------


def test_every_value_of_a_record_is_text_and_in_order() -> None:
    client = Client(
        addr="127.0.0.3", port=4321, expires_at=1795330784.9, credits=13, tasks_completed=1, tasks_failed=2, pooled=True
    )
    assert list(client.record().items()) == [
        ("addr", "127.0.0.3"),
        ("port", "4321"),
        ("expiry", "1795330784"),
        ("credits", "13"),
        ("tasks_completed", "1"),
        ("tasks_failed", "2"),
    ]


def test_a_record_lacks_what_never_was() -> None:
    assert Client(addr="::1").record() == {"addr": "::1", "credits": "0"}


def test_a_registration_sets_port_and_expiry_and_nothing_else() -> None:
    client = Client(addr="::1", port=1, expires_at=5.0, credits=3, tasks_completed=4, tasks_failed=5)
    assert client.registered(Registration(port=2, ttl_s=60), now=100.5) == Client(
        addr="::1", port=2, expires_at=160.5, credits=3, tasks_completed=4, tasks_failed=5, pooled=True
    )
    left = client.registered(Registration(port=2, ttl_s=LEAVE_S), now=100.5)
    assert (left.pooled, left.port, left.expires_at, left.credits) == (False, 2, 99.5, 3)


def test_one_more_task_counted() -> None:
    client = Client(addr="::1").counted(failed=True).counted(failed=False).counted(failed=False)
    assert (client.tasks_failed, client.tasks_completed) == (1, 2)


def test_a_purse_is_enough_or_it_is_not() -> None:
    client = Client(addr="::1", credits=6)
    client.afford(0)
    client.afford(6)
    with pytest.raises(PurchaseTooExpensive) as raised:
        client.afford(7)
    assert (raised.value.have, raised.value.need) == (6, 7)


# --- tasks ----------------------------------------------------------------------------------------------------------


def test_the_key_is_for_the_workers_alone() -> None:
    assert {TASK.key_for(worker.addr) for worker in TEAM} == {b"k" * 16}
    for addr in ("10.0.0.1", "10.1.0.4", ""):
        with pytest.raises(UnknownTask, match=r"^Unknown task$"):
            TASK.key_for(addr)


def test_keys_are_not_shown() -> None:
    assert "kkkk" not in repr(TASK)


def test_the_worker_that_is_named() -> None:
    assert TASK.worker_named("10.1.0.2") == "10.1.0.2"
    assert TASK.worker_named("10.1.0.2:4000") == "10.1.0.2"
    assert TASK.worker_named("10.0.0.1") is None
    assert TASK.worker_named("rubbish") is None


def test_ids_are_hexadecimal() -> None:
    assert is_task_id("0123456789abcdef" * 2)
    for text in ("", "7", "0123456789ABCDEF" * 2, "0" * 31, "0" * 33, "0" * 32 + "\n", "\0" * 32):
        assert not is_task_id(text)


# --- books ----------------------------------------------------------------------------------------------------------


def test_every_purchase_is_paid_out_or_refunded() -> None:
    bought = ledger_2012.purchase(TASK, at=1.0)
    paid = ledger_2012.payments(TASK, at=2.0)
    refunded = ledger_2012.refund(TASK, at=3.0)
    assert bought.amount + sum(entry.amount for entry in paid) == 0
    assert bought.amount + refunded.amount == 0
    assert [entry.client for entry in paid] == [worker.addr for worker in TEAM]
    assert bought.client == refunded.client == TASK.foreman
    assert {entry.task for entry in (bought, *paid, refunded)} == {"t"}
    assert len({entry.id for entry in (bought, *paid, refunded)}) == 5
    assert [entry.reason for entry in (bought, *paid, refunded)] == [
        Reason2012.PURCHASE,
        *[Reason2012.PAY] * 3,
        Reason2012.REFUND,
    ]
    assert [entry.at for entry in (bought, *paid, refunded)] == [1.0, 2.0, 2.0, 2.0, 3.0]


def test_an_empty_grant_makes_no_entry() -> None:
    assert ledger_2012.grant("::1", 0, at=1.0) == ()
    assert ledger_2012.grant("::1", 12, at=1.0) == (
        Entry(id="grant:::1", client="::1", amount=12, reason=Reason2012.GRANT, task=None, at=1.0),
    )


def test_lines_are_added_to_the_client_that_they_are_for() -> None:
    client = Client(addr=TEAM[0].addr, credits=12).booked(
        [*ledger_2012.payments(TASK, at=0), ledger_2012.refund(TASK, at=0)]
    )
    assert client.credits == 13


def test_the_audit_finds_every_credit() -> None:
    assert ledger_2012.audit(Totals(credits=9, escrow=3, granted=12)) == 12
    for totals in (Totals(credits=9, escrow=0, granted=12), Totals(credits=12, escrow=3, granted=12)):
        with pytest.raises(LedgerError, match="do not balance"):
            ledger_2012.audit(totals)
