"""What every storage of the discovery service has to do; for tasks, see ``test_task_repository_contract``."""

from __future__ import annotations

import attrs
import pytest

from ec262.domain.discovery import ledger
from ec262.domain.discovery.folding import Posting
from ec262.domain.discovery.ledger import MINT, SERVICE, Transfer
from ec262.domain.discovery.unit_of_work import UnitOfWork, UnitOfWorkFactory
from ec262.domain.errors import LedgerError
from tests.stored import account, after, at_once, invitation, member, purchase, task, token, transfer, with_accounts


def post_and_commit(uow: UnitOfWork, *transfers: Transfer) -> None:
    """One of the two refuses what is not right."""
    uow.ledger.post(transfers)
    uow.commit()


# --- transactions ---------------------------------------------------------------------------------------------------


def test_uncommitted_changes_are_lost(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        uow.ledger.post([ledger.grant("boss1", 12, at=0)])
        uow.pool.put(member("work1"))
        uow.tasks.add([task()])
        uow.invitations.add(invitation("i1"))
        uow.commit()
    with unit_of_work() as uow:
        uow.accounts.add(account("other"), token("other"))
        uow.accounts.revoke("boss1")
        uow.accounts.save(attrs.evolve(account("work1"), frozen=True))
        uow.ledger.post([transfer("t", "user:boss1", "escrow:task1", 12)])
        uow.pool.remove("work1")
        uow.pool.put(member("work2"))
        uow.tasks.save([after(task(), "work1", "work2")])
        uow.invitations.save(invitation("i1", uses_left=1))
        uow.reports.add(worker="work1", foreman="boss1", at=0)
        uow.purchases.add(purchase("p1", price=3))
    with unit_of_work() as uow:
        assert uow.accounts.by_token(token("other")) is None
        assert uow.accounts.by_token(token("boss1")) == account("boss1")
        assert uow.accounts.get("work1") == account("work1")
        assert uow.ledger.balances() == {"user:boss1": 12, MINT: -12}
        assert len(uow.ledger.transfers()) == 1
        assert [each.worker for each in uow.pool.alive(0)] == ["work1"]
        assert uow.tasks.find(["task1"]) == [task()]
        assert uow.invitations.all() == [invitation("i1")]
        assert uow.reports.count("work1") == 0
        assert uow.purchases.get("p1") is None


def test_an_error_undoes_too(unit_of_work: UnitOfWorkFactory) -> None:
    def fail() -> None:
        with unit_of_work() as uow:
            with_accounts(uow)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with unit_of_work() as uow:
        assert uow.accounts.by_token(token("boss1")) is None


def test_each_commit_makes_durable_what_came_before_it(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow, "boss1")
        uow.commit()
        with_accounts(uow, "work1")
        uow.commit()
        with_accounts(uow, "work2")
    with unit_of_work() as uow:
        found = [uow.accounts.by_token(token(name)) for name in ("boss1", "work1", "work2")]
    assert found == [account("boss1"), account("work1"), None]


def test_a_refused_transfer_undoes_all_of_its_unit_of_work(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        uow.tasks.add([task()])
        with pytest.raises(LedgerError):
            post_and_commit(uow, ledger.grant("boss1", 2, at=0), transfer("t1", "user:boss1", "escrow:task1", 3))
    with unit_of_work() as uow:
        assert uow.ledger.balances() == {}
        assert uow.accounts.get("boss1") is None
        assert uow.tasks.find(["task1"]) == []


def test_a_locked_balance_is_spent_by_one(ways_in: list[UnitOfWorkFactory]) -> None:
    def spend(uow: UnitOfWork, name: str) -> None:
        if uow.ledger.locked_balance("user:boss1") > 0:
            uow.ledger.post([transfer(name, "user:boss1", SERVICE, 1)])

    with ways_in[0]() as uow:
        uow.ledger.post([ledger.grant("boss1", 10, at=0)])
        uow.commit()
    at_once(ways_in, spend)
    with ways_in[0]() as uow:
        assert uow.ledger.balances() == {MINT: -10, SERVICE: 10}


def test_a_locked_balance_of_nothing_is_given_by_one(ways_in: list[UnitOfWorkFactory]) -> None:
    def give(uow: UnitOfWork, name: str) -> None:
        if uow.ledger.locked_balance("user:boss1") == 0:
            uow.ledger.post([ledger.operator_grant("boss1", 5, id=name, at=0)])

    at_once(ways_in, give)
    with ways_in[0]() as uow:
        assert uow.ledger.balances() == {MINT: -5, "user:boss1": 5}


def test_balances_that_nobody_locked_lose_nothing(ways_in: list[UnitOfWorkFactory]) -> None:
    """Accounts come and go, and are named in any order."""

    def move(uow: UnitOfWork, name: str) -> None:
        there, back = f"{name}-there", f"{name}-back"
        uow.ledger.post([ledger.operator_grant("work1", 2, id=name, at=0), transfer(there, "user:work1", "user:a", 2)])
        uow.ledger.post([transfer(back, "user:a", "user:work2", 1), transfer(name, "user:a", "user:work3", 1)])

    at_once(ways_in, move)
    with ways_in[0]() as uow:
        assert uow.ledger.balances() == {MINT: -40, "user:work2": 20, "user:work3": 20}
        assert len(uow.ledger.transfers()) == 80


def test_twins_post_a_transfer_once(ways_in: list[UnitOfWorkFactory]) -> None:
    def post(uow: UnitOfWork, name: str) -> None:
        uow.ledger.post([ledger.grant("boss1", 12, at=0), ledger.grant("work1", 3, at=0)])

    at_once(ways_in, post)
    with ways_in[0]() as uow:
        assert uow.ledger.balances() == {MINT: -15, "user:boss1": 12, "user:work1": 3}


def test_the_pool_is_drawn_from_by_one_at_a_time(ways_in: list[UnitOfWorkFactory]) -> None:
    inside: list[str] = []

    def draw(uow: UnitOfWork, name: str) -> None:
        uow.pool.lock()
        inside.append(name)
        uow.pool.alive(0)
        assert inside == [name]
        inside.remove(name)

    at_once(ways_in, draw)


def test_an_invitation_is_used_once(ways_in: list[UnitOfWorkFactory]) -> None:
    def redeem(uow: UnitOfWork, name: str) -> None:
        found = uow.invitations.locked(invitation("i1").code_digest)
        assert found is not None
        if found.uses_left > 0:
            uow.invitations.save(found.redeemed(now=0))
            uow.ledger.post([ledger.operator_grant("boss1", 1, id=name, at=0)])

    with ways_in[0]() as uow:
        uow.invitations.add(invitation("i1", uses_left=3))
        uow.commit()
    at_once(ways_in, redeem)
    with ways_in[0]() as uow:
        assert uow.ledger.balance("user:boss1") == 3


# --- accounts -------------------------------------------------------------------------------------------------------


def test_accounts_are_found_by_their_token_and_id(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        assert uow.accounts.by_token(token("work1")) == account("work1")
        assert uow.accounts.by_token(b"\x00" * 32) is None
        assert uow.accounts.get("work1") == account("work1")
        assert uow.accounts.get("nobody") is None


def test_an_account_may_have_several_tokens_and_loses_all_of_them(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow, "boss1", "work1")
        uow.accounts.add_token("boss1", token("second"))
        assert uow.accounts.by_token(token("boss1")) == uow.accounts.by_token(token("second")) == account("boss1")
        assert not uow.accounts.is_revoked(token("boss1"))
        uow.accounts.revoke("boss1")
        assert [uow.accounts.by_token(token(name)) for name in ("boss1", "second")] == [None, None]
        assert [uow.accounts.is_revoked(token(name)) for name in ("boss1", "second", "work1", "never")] == [
            True,
            True,
            False,
            False,
        ]
        uow.accounts.add_token("boss1", token("third"))
        assert uow.accounts.by_token(token("third")) == account("boss1")
        assert uow.accounts.by_token(token("boss1")) is None
        assert uow.accounts.by_token(token("work1")) == account("work1")


def test_owner_and_frozen_change(unit_of_work: UnitOfWorkFactory) -> None:
    frozen = attrs.evolve(account("work1"), owner="another", frozen=True)
    with unit_of_work() as uow:
        with_accounts(uow)
        uow.accounts.save(frozen)
        uow.commit()
    with unit_of_work() as uow:
        found = uow.accounts.by_token(token("work1"))
        assert found == frozen
        assert found.frozen is True
        other = uow.accounts.get("work2")
        assert other == account("work2")
        assert other.frozen is False


def test_accounts_come_in_pages_in_the_order_of_their_ids(unit_of_work: UnitOfWorkFactory) -> None:
    names = ["B-account", "a-account", "Z-account", "_account", "0-account"]
    with unit_of_work() as uow:
        with_accounts(uow, *names)
        first = [each.id for each in uow.accounts.page(after="", limit=3)]
        rest = [each.id for each in uow.accounts.page(after=first[-1], limit=3)]
        assert first + rest == sorted(names)
        assert uow.accounts.page(after=rest[-1], limit=3) == []


# --- invitations and reports ----------------------------------------------------------------------------------------


def test_invitations_are_kept_and_used_up(unit_of_work: UnitOfWorkFactory) -> None:
    second, first = invitation("i2", expires_at=12.5), invitation("i1")
    with unit_of_work() as uow:
        uow.invitations.add(second)
        uow.invitations.add(first)
        assert uow.invitations.all() == [first, second]
        uow.invitations.save(second.redeemed(now=0))
        uow.commit()
    with unit_of_work() as uow:
        assert uow.invitations.locked(second.code_digest) == second.redeemed(now=0)
        assert uow.invitations.locked(first.code_digest) == first
        assert uow.invitations.locked(b"\x00" * 32) is None


def test_a_foremans_reports_about_a_worker_count_once(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow, "boss1", "boss2", "work1", "work2")
        for worker, foreman in [("work1", "boss1"), ("work1", "boss1"), ("work1", "boss2"), ("work2", "boss1")]:
            uow.reports.add(worker=worker, foreman=foreman, at=1)
        assert [uow.reports.count(worker) for worker in ("work1", "work2", "boss1")] == [2, 1, 0]


# --- ledger ---------------------------------------------------------------------------------------------------------


def test_transfers_move_balances_and_are_kept(unit_of_work: UnitOfWorkFactory) -> None:
    first, second = ledger.grant("boss1", 12, at=3), transfer("t1", "user:boss1", "escrow:task1", 12)
    with unit_of_work() as uow:
        uow.ledger.post([first])
        assert (uow.ledger.balance("user:boss1"), uow.ledger.balance("escrow:task1")) == (12, 0)
        assert uow.ledger.locked_balance("user:boss1") == 12
        uow.ledger.post([second])
        assert (uow.ledger.balance("user:boss1"), uow.ledger.locked_balance("escrow:task1")) == (0, 12)
        uow.commit()
    with unit_of_work() as uow:
        assert uow.ledger.balances() == {MINT: -12, "escrow:task1": 12}
        assert uow.ledger.transfers() == [first, second]
        assert [each.at for each in uow.ledger.transfers()] == [3, 7.25]


def test_accounts_with_one_prefix_are_counted_and_added_up(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        uow.ledger.post([transfer("one", MINT, "user:boss1", 12), transfer("two", "user:boss1", "escrow:task1", 3)])
        uow.ledger.post([transfer("six", "user:boss1", "escrow:task2", 2), transfer("ten", MINT, "escrow", 9)])
        assert uow.ledger.together("escrow:") == (2, 5)
        uow.ledger.post([transfer("end", "escrow:task2", "escrow;", 2)])
        uow.commit()
    with unit_of_work() as uow:
        assert uow.ledger.together("escrow:") == (1, 3)
        assert uow.ledger.together("user:") == (1, 7)
        assert uow.ledger.together("nobody:") == (0, 0)


def test_an_id_is_one_movement(unit_of_work: UnitOfWorkFactory) -> None:
    grant = ledger.grant("boss1", 12, at=0)
    with unit_of_work() as uow:
        uow.ledger.post([grant, ledger.grant("boss1", 12, at=99), grant])
        uow.ledger.post([grant])
        assert uow.ledger.balance("user:boss1") == 12
        uow.commit()
        uow.ledger.post([grant, ledger.grant("work1", 1, at=0)])
        assert uow.ledger.balance("user:boss1") == 12
        uow.commit()
    with unit_of_work() as uow:
        uow.ledger.post([ledger.grant("boss1", 12, at=100)])
        assert uow.ledger.balances() == {MINT: -13, "user:boss1": 12, "user:work1": 1}
        assert len(uow.ledger.transfers()) == 2


@pytest.mark.parametrize("commits", [True, False], ids=["committed", "pending"])
def test_an_id_is_not_two_movements(unit_of_work: UnitOfWorkFactory, commits: bool) -> None:  # noqa: FBT001 - by pytest
    with unit_of_work() as uow:
        uow.ledger.post([ledger.grant("boss1", 12, at=0)])
        if commits:
            uow.commit()
        with pytest.raises(LedgerError, match="different contents"):
            post_and_commit(uow, ledger.grant("boss1", 13, at=0))


def test_no_account_is_overdrawn(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        uow.ledger.post([ledger.grant("boss1", 2, at=0)])
        uow.commit()
        with pytest.raises(LedgerError, match="user:boss1 would be overdrawn by 1"):
            post_and_commit(uow, transfer("t1", "user:boss1", "escrow:task1", 3))
    with unit_of_work() as uow:
        assert uow.ledger.balances() == {MINT: -2, "user:boss1": 2}
        assert len(uow.ledger.transfers()) == 1


def test_statements_explain_a_balance(unit_of_work: UnitOfWorkFactory) -> None:
    moves = [
        ledger.grant("boss1", 12, at=0),
        ledger.grant("work1", 1, at=0),
        transfer("t1", "user:boss1", "escrow:task1", 3),
        transfer("t2", "escrow:task1", "user:work1", 1),
        transfer("t3", "escrow:task1", "user:boss1", 2),
    ]
    with unit_of_work() as uow:
        uow.ledger.post(moves)
        uow.commit()
    with unit_of_work() as uow:
        last, middle, first = uow.ledger.statement("user:boss1", before=None, limit=9)
        assert [each.entry for each in (first, middle, last)] == [moves[0], moves[2], moves[4]]
        assert [(each.change, each.balance) for each in (first, middle, last)] == [(12, 12), (-3, 9), (2, 11)]
        assert first.position < middle.position < last.position
        assert uow.ledger.statement("user:boss1", before=None, limit=1) == [last]
        assert uow.ledger.statement("user:boss1", before=last.position, limit=1) == [middle]
        assert uow.ledger.statement("user:boss1", before=middle.position, limit=9) == [first]
        assert uow.ledger.statement("user:boss1", before=first.position, limit=9) == []
        assert uow.ledger.statement("user:nobody", before=None, limit=9) == []
        assert [each.balance for each in uow.ledger.statement("escrow:task1", before=None, limit=9)] == [0, 2, 3]
        assert [each.balance for each in uow.ledger.statement(MINT, before=None, limit=9)] == [-13, -12]
        posting = uow.ledger.statement("user:work1", before=None, limit=1)[0]
        assert posting == Posting(position=posting.position, entry=moves[3], change=1, balance=2)
        uow.ledger.post([transfer("t4", "user:boss1", SERVICE, 1)])
        assert uow.ledger.statement("user:boss1", before=None, limit=1)[0].balance == 10


# --- pool -----------------------------------------------------------------------------------------------------------


def test_leases_are_stored_unchanged(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        uow.pool.put(member("work2"))
        uow.pool.put(member("work1"))
        assert uow.pool.alive(99.5) == [member("work1"), member("work2")]
        assert uow.pool.get("work1") == member("work1")
        assert uow.pool.get("boss1") is None


def test_a_worker_has_one_lease(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        uow.pool.put(member("work1"))
        uow.pool.put(member("work1", slots=7, expires_at=200))
        assert uow.pool.alive(0) == [member("work1", slots=7, expires_at=200)]


def test_leases_end(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        uow.pool.put(member("work1", expires_at=100))
        uow.pool.put(member("work2", expires_at=101))
        assert uow.pool.alive(100) == [member("work2", expires_at=101)]
        assert uow.pool.get("work1") is not None
        uow.pool.purge(100)
        assert uow.pool.get("work1") is None
        uow.pool.remove("work2")
        uow.pool.remove("work2")
        assert uow.pool.alive(0) == []


def test_beginners_are_those_alive_that_have_earned_nothing(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        known = attrs.evolve(member("work1"), earned=True)
        uow.pool.put(known)
        uow.pool.put(member("work2"))
        assert uow.pool.get("work1") == known
        assert uow.pool.beginners(99.5) == [member("work2")]
        assert uow.pool.beginners(100) == []


# --- purchases ------------------------------------------------------------------------------------------------------


def test_purchases_are_kept_if_they_moved_credits(unit_of_work: UnitOfWorkFactory) -> None:
    paid, empty, recent = purchase("p1", price=3), purchase("p2", price=0), purchase("p3", price=0, forgotten_at=11)
    with unit_of_work() as uow:
        with_accounts(uow)
        for record in (paid, empty, recent):
            uow.purchases.add(record)
        assert uow.purchases.get("p2") == empty
        uow.purchases.forget(10)
        assert [uow.purchases.get(name) for name in ("p1", "p2", "p3", "p4")] == [paid, None, recent, None]
