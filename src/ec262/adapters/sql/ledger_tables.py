"""The books over one open transaction: written in bulk, when the unit of work is committed or they are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import bindparam, delete, exists, func, insert, literal, or_, select, text, union_all

from ec262.adapters.sql.engine.dialects import RowChange, one_of
from ec262.adapters.sql.engine.statements import Statements
from ec262.adapters.sql.folds import all_folds, fold_transfers
from ec262.adapters.sql.schema import schema
from ec262.adapters.sql.transfers import POSTED, TRANSFER_COLUMNS, posted_row, statement_of, transfer_of
from ec262.domain.discovery.folding import Fold, Posting
from ec262.domain.discovery.ledger import FOR_WORK, Transfer, change, moved
from ec262.domain.errors import LedgerError

_balances, _transfers, _folds = schema.balances, schema.transfers, schema.folds

LOOKED_AT = 1000
"""Of what came to an account, to see whether it has earned: a foreman can have a great many refunds."""

_BALANCE = select(_balances.c.balance).where(_balances.c.account == bindparam("account"))
_LOCKED_BALANCE = _BALANCE.with_for_update()
_OPEN_BALANCE = text("INSERT INTO balances (account, balance) VALUES (:account, 0) ON CONFLICT (account) DO NOTHING")
_ALL_BALANCES = select(_balances.c.account, _balances.c.balance).where(_balances.c.balance != 0)
# A range, which is for the index of every database; LIKE is not.
_TOGETHER = select(func.count(), func.coalesce(func.sum(_balances.c.balance), 0)).where(
    _balances.c.account >= bindparam("from"), _balances.c.account < bindparam("to"), _balances.c.balance != 0
)
_LOCKED_BALANCES = (
    select(_balances.c.account, _balances.c.balance)
    .where(one_of(_balances.c.account, "accounts"))
    .order_by(_balances.c.account)
    .with_for_update()
)
_CLOSE_BALANCES = delete(_balances).where(one_of(_balances.c.account, "accounts"))
_SET_BALANCE = RowChange(table=_balances, keys=("account",), values=("balance",))
# Where there was no row to lock, somebody else may have made one since: added, not set.
_ADD_BALANCE = text(
    "INSERT INTO balances (balance, account) VALUES (:balance, :account) "
    "ON CONFLICT (account) DO UPDATE SET balance = balances.balance + excluded.balance"
)

_POSTED = select(*TRANSFER_COLUMNS).where(one_of(_transfers.c.id, "ids"))
_ALL_POSTED = select(*TRANSFER_COLUMNS).order_by(_transfers.c.position)
_OLDEST = _ALL_POSTED.where(_transfers.c.position > bindparam("after")).limit(bindparam("most"))
_POST = insert(_transfers)

_FOR_WORK = sorted(FOR_WORK, key=lambda reason: reason.value)
_FIRST_CREDITS = (
    select(_transfers.c.reason)
    .where(_transfers.c.credit == bindparam("account"), schema.CREDIT_IN_STATEMENTS)
    .order_by(_transfers.c.position)
    .limit(LOOKED_AT)
    .subquery()
)
_EARNED = union_all(
    select(literal(1)).where(exists().where(or_(*(_FIRST_CREDITS.c.reason == reason.value for reason in _FOR_WORK)))),
    select(literal(1)).where(
        exists().where(
            _folds.c.account == bindparam("account"), or_(*(_folds.c[reason.value] > 0 for reason in _FOR_WORK))
        )
    ),
)


class SqlLedger:
    """The books. An account without a row has no credits."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._pending: dict[str, Transfer] = {}
        self._unchecked: list[str] = []

    def post(self, transfers: Iterable[Transfer]) -> None:
        """Move credits, once."""
        for transfer in transfers:
            if transfer.id in self._pending:
                _check_same(self._pending[transfer.id], transfer)
            else:
                self._pending[transfer.id] = transfer
                self._unchecked.append(transfer.id)

    def balance(self, account: str) -> int:
        """Return the balance of a ledger account."""
        stored: list[int] = self._statements.column(_BALANCE, {"account": account})
        return sum(stored) + self._pending_change(account)

    def locked_balance(self, account: str) -> int:
        """Return the balance of a ledger account, and lock it: its row, which is made if there is none."""
        self._statements.change(_OPEN_BALANCE, {"account": account})
        stored: list[int] = self._statements.column(_LOCKED_BALANCE, {"account": account})
        return sum(stored) + self._pending_change(account)

    def balances(self) -> Mapping[str, int]:
        """Return every balance that is not zero."""
        self.flush()
        return dict(self._statements.fetch(_ALL_BALANCES))

    def has_earned(self, account: str) -> bool:
        """Tell whether a ledger account was ever paid for work."""
        self.flush()
        return bool(self._statements.fetch(_EARNED, {"account": account}))

    def together(self, prefix: str) -> tuple[int, int]:
        """Return how many accounts whose names begin so have credits, and how many credits these are."""
        self.flush()
        ((accounts, credits),) = self._statements.fetch(_TOGETHER, {"from": prefix, "to": _after(prefix)})
        return accounts, int(credits)  # PostgreSQL adds up to decimals

    def transfers(self) -> Sequence[Transfer]:
        """Return every movement, oldest first."""
        self.flush()
        return [transfer_of(row) for row in self._statements.fetch(_ALL_POSTED)]

    def statement(self, account: str, *, before: int | None, limit: int) -> Sequence[Posting]:
        """Return up to ``limit`` movements of a ledger account, newest first."""
        self.flush()
        return statement_of(self._statements, account, before=before, limit=limit)

    def oldest(self, *, after: int, limit: int) -> Sequence[tuple[int, Transfer]]:
        """Return up to ``limit`` movements behind a position, oldest first."""
        self.flush()
        rows = self._statements.fetch(_OLDEST, {"after": after, "most": limit})
        return [(row[0], transfer_of(row)) for row in rows]

    def fold(self, *, after: int, upto: int) -> None:
        """Keep only what movements come to."""
        self.flush()
        fold_transfers(self._statements, after=after, upto=upto)

    def folds(self) -> Sequence[Fold]:
        """Return what movements come to that are not kept any more."""
        return all_folds(self._statements)

    def flush(self) -> None:
        """Write what was posted. Raises LedgerError."""
        self._check()
        if self._pending:
            self._write(list(self._pending.values()))
            self._pending.clear()

    def _check(self) -> None:
        """Drop what was posted before from what is pending."""
        if self._unchecked:
            for row in self._statements.fetch(_POSTED, {"ids": self._unchecked}):
                posted = transfer_of(row)
                _check_same(posted, self._pending.pop(posted.id))
            self._unchecked = []

    def _pending_change(self, account: str) -> int:
        self._check()
        return sum(change(each, account) for each in self._pending.values() if account in {each.debit, each.credit})

    def _write(self, transfers: Sequence[Transfer]) -> None:
        """Balances come first, in the order of their accounts, and are locked from then on: nobody waits in a circle,
        and the positions of an account's transfers are in the order in which its balance changed."""
        accounts = sorted({account for transfer in transfers for account in (transfer.debit, transfer.credit)})
        before: dict[str, int] = dict(self._statements.fetch(_LOCKED_BALANCES, {"accounts": accounts}))
        after = dict(before)
        for transfer in transfers:
            after.update(moved(after, transfer))
        empty = [account for account in before if after[account] == 0]
        if empty:
            self._statements.change(_CLOSE_BALANCES, {"accounts": empty})
        kept = [(after[account], account) for account in accounts if after[account] != 0]
        self._statements.change_each(_SET_BALANCE, _SET_BALANCE.names, [row for row in kept if row[1] in before])
        self._statements.change_each(_ADD_BALANCE, _SET_BALANCE.names, [row for row in kept if row[1] not in before])
        self._statements.change_each(_POST, POSTED, [posted_row(transfer) for transfer in transfers])


def _after(prefix: str) -> str:
    """Return the first text that is after all that begin with a prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _check_same(posted: Transfer, transfer: Transfer) -> None:
    if posted != transfer:
        raise LedgerError(f"the transfer {transfer.id} was posted before with different contents")
