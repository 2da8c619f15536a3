"""What every storage of the discovery service does with old movements of credits: it adds them up."""

from __future__ import annotations

from collections import Counter

from ec262.domain.discovery.folding import Fold, Posting
from ec262.domain.discovery.ledger import MINT, Transfer
from ec262.domain.discovery.unit_of_work import UnitOfWork, UnitOfWorkFactory
from ec262.domain.protocol.reason import Reason
from tests.stored import at_once

NOVEMBER = 1_793_500_000.0


def post_a_task(uow: UnitOfWork, name: str, *, at: float = NOVEMBER) -> None:
    """A purchase of two replicas, one of which is paid, and one comes back."""
    moves = [("purchase", "user:boss1", f"escrow:{name}", 2), ("win", f"escrow:{name}", "user:work1", 1)]
    moves.append(("refund", f"escrow:{name}", "user:boss1", 1))
    uow.ledger.post(
        [
            Transfer(
                id=f"{reason}:{name}",
                debit=debit,
                credit=credit,
                amount=amount,
                reason=Reason(reason),
                task=name,
                at=at,
            )
            for reason, debit, credit, amount in moves
        ]
    )


def grant_to_boss(uow: UnitOfWork, amount: int) -> None:
    uow.ledger.post(
        [Transfer(id=f"grant:{amount}", debit=MINT, credit="user:boss1", amount=amount, reason=Reason.GRANT, at=1)]
    )


def test_old_movements_leave_what_they_come_to(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        grant_to_boss(uow, 12)
        for name in ("task1", "task2", "task3"):
            post_a_task(uow, name)
        uow.commit()
        before, balances = uow.ledger.statement("user:boss1", before=None, limit=99), uow.ledger.balances()
        rows = uow.ledger.oldest(after=0, limit=99)
        assert [transfer.id for _, transfer in rows[:2]] == ["grant:12", "purchase:task1"]
        assert uow.ledger.oldest(after=rows[0][0], limit=2) == rows[1:3]
        assert uow.ledger.folds() == []
        end_of_two = rows[6][0]
        for _ in range(2):
            uow.ledger.fold(after=0, upto=end_of_two)
        uow.commit()
    with unit_of_work() as uow:
        assert uow.ledger.balances() == balances
        assert [each.id for each in uow.ledger.transfers()] == [
            "grant:12",
            "purchase:task3",
            "win:task3",
            "refund:task3",
        ]
        boss = Fold(
            account="user:boss1", month=202611, position=end_of_two, at=NOVEMBER, movements=4, purchase=-4, refund=2
        )
        assert list(uow.ledger.folds()) == [
            boss,
            Fold(account="user:work1", month=202611, position=rows[5][0], at=NOVEMBER, movements=2, win=2),
        ]
        statement = uow.ledger.statement("user:boss1", before=None, limit=99)
        assert statement[:2] == before[:2]
        assert statement[2] == Posting(position=end_of_two, entry=boss, change=-2, balance=10)
        assert statement[3:] == before[-1:]
        assert uow.ledger.statement("user:boss1", before=before[1].position, limit=1) == statement[2:3]
        assert uow.ledger.statement("user:boss1", before=end_of_two, limit=9) == statement[3:]
        assert uow.ledger.statement("escrow:task1", before=None, limit=9) == []


def test_earnings_count_even_after_movements_were_added_up(unit_of_work: UnitOfWorkFactory) -> None:
    def earners(uow: UnitOfWork) -> list[str]:
        return [name for name in ("boss1", "work1", "work2") if uow.ledger.has_earned(f"user:{name}")]

    with unit_of_work() as uow:
        grant_to_boss(uow, 12)
        assert earners(uow) == []
        post_a_task(uow, "task1")
        assert earners(uow) == ["work1"]
        uow.ledger.fold(after=0, upto=uow.ledger.oldest(after=0, limit=99)[-1][0])
        assert earners(uow) == ["work1"]
        dispute = Transfer(
            id="dispute", debit="user:boss1", credit="user:work2", amount=1, reason=Reason.DISPUTE, at=NOVEMBER
        )
        uow.ledger.post([dispute])
        assert earners(uow) == ["work1", "work2"]


def test_later_months_are_added_to_the_sum(unit_of_work: UnitOfWorkFactory) -> None:
    """Also where an escrow was not empty yet."""
    with unit_of_work() as uow:
        grant_to_boss(uow, 12)
        post_a_task(uow, "task1")
        post_a_task(uow, "task2")
        positions = [position for position, _ in uow.ledger.oldest(after=0, limit=99)]
        uow.ledger.fold(after=0, upto=positions[2])
        assert [(each.account, each.month, each.change) for each in uow.ledger.folds()] == [
            ("escrow:task1", 0, 1),
            ("user:boss1", 202611, -2),
            ("user:work1", 202611, 1),
        ]
        uow.ledger.fold(after=positions[2], upto=positions[5])
        uow.commit()
    with unit_of_work() as uow:
        folds = {(each.account, each.month): each for each in uow.ledger.folds()}
        assert folds.keys() == {("escrow:task2", 0), ("user:boss1", 202611), ("user:work1", 202611)}
        boss = folds["user:boss1", 202611]
        assert (boss.movements, boss.purchase, boss.refund, boss.position) == (3, -4, 1, positions[4])
        sums: Counter[str] = Counter()
        for each in uow.ledger.transfers():
            sums[each.debit] -= each.amount
            sums[each.credit] += each.amount
        for fold in folds.values():
            sums[fold.account] += fold.change
        assert {account: balance for account, balance in sums.items() if balance} == uow.ledger.balances()
        for account in ("user:boss1", "user:work1", "escrow:task2"):
            assert uow.ledger.statement(account, before=None, limit=1)[0].balance == uow.ledger.balance(account)


def test_new_movements_come_behind_those_that_were_added_up(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        grant_to_boss(uow, 12)
        post_a_task(uow, "task1")
        positions = [position for position, _ in uow.ledger.oldest(after=0, limit=99)]
        uow.ledger.fold(after=0, upto=positions[-2])
        uow.commit()
    with unit_of_work() as uow:
        post_a_task(uow, "task2")
        assert min(position for position, each in uow.ledger.oldest(after=0, limit=99) if each.task == "task2") > max(
            positions
        )


def test_those_who_add_up_at_once_do_it_once(ways_in: list[UnitOfWorkFactory]) -> None:
    with ways_in[0]() as uow:
        grant_to_boss(uow, 12)
        for number in range(9):
            post_a_task(uow, f"task{number}")
        last = uow.ledger.oldest(after=0, limit=99)[-1][0]
        balances = uow.ledger.balances()
        uow.commit()

    def fold_all(uow: UnitOfWork, _name: str) -> None:
        uow.ledger.fold(after=0, upto=last - 1)

    at_once(ways_in, fold_all)
    with ways_in[0]() as uow:
        assert sum(each.movements for each in uow.ledger.folds() if each.account == "user:boss1") == 17
        assert uow.ledger.balances() == balances
