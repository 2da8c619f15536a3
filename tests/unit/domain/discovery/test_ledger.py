from __future__ import annotations

import pytest

from ec262.domain.discovery.ledger import (
    MINT,
    Transfer,
    audit,
    change,
    escrow_account,
    grant,
    invitation_grant,
    moved,
    operator_grant,
    user_account,
)
from ec262.domain.errors import LedgerError
from ec262.domain.protocol.reason import Reason


def transfer(*, debit: str = "user:a", credit: str = "escrow:t", amount: int = 3) -> Transfer:
    return Transfer(id="t1", debit=debit, credit=credit, amount=amount, reason=Reason.PURCHASE, at=0)


def test_a_transfer_takes_here_and_gives_there() -> None:
    assert moved({"user:a": 5, "user:b": 1}, transfer()) == {"user:a": 2, "escrow:t": 3}


def test_everything_may_be_spent() -> None:
    assert moved({"user:a": 3}, transfer()) == {"user:a": 0, "escrow:t": 3}


@pytest.mark.parametrize("balances", [{}, {"user:a": 2}])
def test_no_account_is_overdrawn(balances: dict[str, int]) -> None:
    with pytest.raises(LedgerError, match="user:a would be overdrawn"):
        moved(balances, transfer())


def test_the_mint_owes_what_was_granted() -> None:
    assert moved({MINT: -12}, grant("b", 12, at=0)) == {MINT: -24, "user:b": 12}


def test_a_grant_has_one_id_an_account() -> None:
    assert grant("b", 12, at=0).id == grant("b", 5, at=9).id != grant("c", 12, at=0).id


def test_an_invitation_counts_once_an_account_and_adds_to_what_is_granted() -> None:
    first = invitation_grant("b", "i1", 5, at=0)
    assert first == invitation_grant("b", "i1", 5, at=9)
    others = [invitation_grant("c", "i1", 5, at=0), invitation_grant("b", "i2", 5, at=0), grant("b", 5, at=0)]
    assert len({first.id, *(other.id for other in others)}) == 4
    assert moved({MINT: -12}, first) == {MINT: -17, "user:b": 5}


def test_the_operator_grants_under_ids_of_its_own() -> None:
    assert operator_grant("b", 5, id="x", at=0) == operator_grant("b", 5, id="x", at=9)
    assert operator_grant("b", 5, id="b", at=0).id != grant("b", 5, at=0).id
    assert moved({}, operator_grant("b", 5, id="x", at=0)) == {MINT: -5, "user:b": 5}


def test_a_transfer_is_a_loss_here_and_a_gain_there() -> None:
    assert (change(transfer(), "user:a"), change(transfer(), "escrow:t")) == (-3, 3)


def test_the_same_movement_later_is_the_same_movement() -> None:
    assert grant("b", 12, at=0) == grant("b", 12, at=9)


@pytest.mark.parametrize("amount", [0, -1, 1.5])
def test_amounts_are_whole_and_positive(amount: int) -> None:
    with pytest.raises((ValueError, TypeError)):
        transfer(amount=amount)


def test_a_transfer_has_two_accounts() -> None:
    with pytest.raises(ValueError, match="a transfer"):
        transfer(debit="user:a", credit="user:a")


def test_users_and_escrows_cannot_be_mistaken_for_each_other() -> None:
    assert user_account("x") != escrow_account("x")


def test_audit_tells_what_was_granted() -> None:
    assert audit({MINT: -24, "user:a": 9, "escrow:t": 3, "service": 12}) == 24
    assert audit({}) == 0


def test_audit_notices_credits_out_of_nothing() -> None:
    with pytest.raises(LedgerError, match="all accounts add up to 1 credits"):
        audit({MINT: -12, "user:a": 13})


def test_audit_notices_a_debtor() -> None:
    with pytest.raises(LedgerError, match="overdrawn: user:a"):
        audit({MINT: -12, "user:a": -1, "user:b": 13})
