"""Old movements, added up by account and month."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs
from hypothesis import given
from hypothesis import strategies as st

from ec262.domain.discovery.folding import NO_MONTH, REASONS, Fold, fold, is_over, month_of
from ec262.domain.discovery.ledger import MINT, SERVICE, Transfer, escrow_account, user_account
from ec262.domain.protocol.reason import Reason

NOVEMBER, DECEMBER = 1_793_500_000.0, 1_796_100_000.0
BOSS, WORKER = user_account("boss"), user_account("worker")


def move(number: int, debit: str, credit: str, amount: int, reason: Reason, *, at: float = NOVEMBER) -> Transfer:
    return Transfer(id=f"{number}", debit=debit, credit=credit, amount=amount, reason=reason, task="t", at=at)


def a_task(name: str, first: int, *, at: float = NOVEMBER) -> list[tuple[int, Transfer]]:
    """A task of three workers, two of whom are paid."""
    escrow = escrow_account(name)
    return [
        (first, move(first, BOSS, escrow, 3, Reason.PURCHASE, at=at)),
        (first + 1, move(first + 1, escrow, WORKER, 1, Reason.WIN, at=at + 1)),
        (first + 2, move(first + 2, escrow, user_account("other"), 1, Reason.WIN, at=at + 1)),
        (first + 3, move(first + 3, escrow, SERVICE, 1, Reason.UNPAID, at=at + 2)),
    ]


def test_tasks_that_are_over_leave_one_entry_for_each_account() -> None:
    folds = fold(a_task("one", 1) + a_task("two", 5))
    assert folds == [
        Fold(account=SERVICE, month=202611, position=8, at=NOVEMBER + 2, movements=2, unpaid=2),
        Fold(account=BOSS, month=202611, position=5, at=NOVEMBER, movements=2, purchase=-6),
        Fold(account=user_account("other"), month=202611, position=7, at=NOVEMBER + 1, movements=2, win=2),
        Fold(account=WORKER, month=202611, position=6, at=NOVEMBER + 1, movements=2, win=2),
    ]
    assert sum(each.change for each in folds) == 0


def test_each_month_has_its_own() -> None:
    months = [each.month for each in fold(a_task("one", 1) + a_task("two", 5, at=DECEMBER)) if each.account == BOSS]
    assert months == [202611, 202612]


def test_an_escrow_keeps_its_entry_until_it_is_empty() -> None:
    movements = a_task("one", 1)
    early, late = fold(movements[:2]), fold(movements[2:])
    (first,) = [each for each in early if each.account == escrow_account("one")]
    (rest,) = [each for each in late if each.account == escrow_account("one")]
    assert (first.month, first.change, rest.change) == (NO_MONTH, 2, -2)
    assert not is_over(first)
    assert is_over(first.with_more(rest))


def test_the_later_one_says_when_and_where() -> None:
    early = Fold(account=BOSS, month=202611, position=3, at=5.0, movements=2, purchase=-6, refund=3)
    late = Fold(account=BOSS, month=202611, position=9, at=4.0, movements=1, purchase=-3)
    both = Fold(account=BOSS, month=202611, position=9, at=4.0, movements=3, purchase=-9, refund=3)
    assert early.with_more(late) == late.with_more(early) == both
    assert both.change == -6


def test_all_reasons_but_grants_are_added_up() -> None:
    assert set(REASONS) == {reason.value for reason in Reason} - {"grant", "month"}
    assert set(REASONS) <= {field.name for field in attrs.fields(Fold)}
    assert MINT not in {each.account for each in fold(a_task("one", 1))}


@given(st.floats(0, 253_402_300_799))
def test_a_month_is_that_of_the_calendar(at: float) -> None:
    day = datetime.fromtimestamp(at // 1, UTC)
    assert month_of(at) == day.year * 100 + day.month
