"""Transfers as rows, and an account's statement out of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    ColumnElement,
    Select,
    TextClause,
    bindparam,
    cast,
    func,
    null,
    select,
    true,
    union_all,
)

from ec262.adapters.sql.engine.statements import Statements
from ec262.adapters.sql.schema import schema
from ec262.domain.discovery.folding import REASONS, Fold, Posting
from ec262.domain.discovery.ledger import ESCROW, Transfer, change
from ec262.domain.protocol.reason import Reason

_END = 1 << 62
"""Every position is before it."""

_transfers, _balances = schema.transfers, schema.balances

TRANSFER_COLUMNS = (
    _transfers.c.position,
    _transfers.c.id,
    _transfers.c.debit,
    _transfers.c.credit,
    _transfers.c.amount,
    _transfers.c.reason,
    _transfers.c.task,
    _transfers.c.at,
)

_folds = schema.folds

FOLD_COLUMNS = (
    _folds.c.position,
    _folds.c.account,
    _folds.c.month,
    _folds.c.at,
    _folds.c.movements,
    *(_folds.c[name] for name in REASONS),
)
_CHANGE = sum((_folds.c[name] for name in REASONS[1:]), start=_folds.c[REASONS[0]])

_REASONS = {reason.value: reason for reason in Reason}
_WORDS = {reason: reason.value for reason in Reason}

_account: BindParameter[str] = bindparam("account")
_before = bindparam("before", type_=BigInteger)
_Indexed = ColumnElement[bool] | TextClause


def _side(column: ColumnElement[str], indexed: _Indexed) -> Select[Any]:
    """Choose the newest transfers that have the account on one side."""
    newest = (
        select(*TRANSFER_COLUMNS, *_padding(FOLD_COLUMNS))
        .where(column == _account, indexed, _transfers.c.position < _before)
        .order_by(_transfers.c.position.desc())
        .limit(bindparam("most", type_=BigInteger))
    )
    return select(newest.subquery())


def _padding(columns: Sequence[Column[Any]]) -> list[ColumnElement[Any]]:
    """Fill columns that a row of the other kind has, and this one does not."""
    return [cast(null(), column.type).label(f"no_{column.name}") for column in columns]


def _older() -> Select[Any]:
    """Choose what the account's older transfers come to."""
    return select(_folds.c.position, *_padding(TRANSFER_COLUMNS[1:]), *FOLD_COLUMNS).where(
        _folds.c.account == _account, _folds.c.position < _before
    )


def _older_since() -> ColumnElement[int]:
    """Add up what came of those that end behind the position."""
    change = select(func.sum(_CHANGE)).where(_folds.c.account == _account, _folds.c.position >= _before)
    return func.coalesce(change.scalar_subquery(), 0)


def _since(column: ColumnElement[str], indexed: _Indexed) -> ColumnElement[int]:
    """Add up what the account had on one side from the position on."""
    amount = select(func.sum(_transfers.c.amount)).where(column == _account, indexed, _transfers.c.position >= _before)
    return func.coalesce(amount.scalar_subquery(), 0)


def _statement(debits: _Indexed, credits: _Indexed) -> Select[Any]:
    """Choose an account's newest entries before a position, with its balance at that position: what it has now, less
    what came since. It is one query, so that it sees one state of the books."""
    newest = union_all(_side(_transfers.c.debit, debits), _side(_transfers.c.credit, credits), _older()).subquery()
    now = select(_balances.c.balance).where(_balances.c.account == _account).scalar_subquery()
    moved = _since(_transfers.c.credit, credits) - _since(_transfers.c.debit, debits) + _older_since()
    then = func.coalesce(now, 0) - moved
    return select(newest, then.label("balance")).order_by(newest.c.position.desc()).limit(bindparam("most"))


_STATEMENT = _statement(schema.DEBIT_IN_STATEMENTS, schema.CREDIT_IN_STATEMENTS)
_STATEMENT_OF_ESCROW = _statement(true(), true())


def statement_of(statements: Statements, account: str, *, before: int | None, limit: int) -> Sequence[Posting]:
    """Return up to ``limit`` entries of a ledger account before a position, newest first. Only an escrow's are looked
    for without an index."""
    query = _STATEMENT_OF_ESCROW if account.startswith(ESCROW) else _STATEMENT
    rows = statements.fetch(query, {"account": account, "before": _END if before is None else before, "most": limit})
    balance = int(rows[0][-1]) if rows else 0  # PostgreSQL adds up to decimals
    postings = []
    for row in rows:
        entry = _entry(row)
        moved = entry.change if isinstance(entry, Fold) else change(entry, account)
        postings.append(Posting(position=row[0], entry=entry, change=moved, balance=balance))
        balance -= moved
    return postings


def _entry(row: Sequence[Any]) -> Transfer | Fold:
    """Make the entry of a row of a statement: it has an id only if it is a transfer."""
    return fold_of(row[len(TRANSFER_COLUMNS) :]) if row[1] is None else transfer_of(row)


def fold_of(row: Sequence[Any]) -> Fold:
    """Make what transfers come to of a row that begins with its columns."""
    return Fold(**{column.name: value for column, value in zip(FOLD_COLUMNS, row, strict=False)})


def transfer_of(row: Sequence[Any]) -> Transfer:
    """Make the transfer of a row that begins with the columns of a transfer."""
    _, name, debit, credit, amount, reason, task, at = row[: len(TRANSFER_COLUMNS)]
    return Transfer(id=name, debit=debit, credit=credit, amount=amount, reason=_REASONS[reason], task=task, at=at)


POSTED = tuple(column.name for column in TRANSFER_COLUMNS[1:])
"""The columns of a new transfer: the database numbers it."""


def posted_row(transfer: Transfer) -> tuple[Any, ...]:
    """Make the row of a new transfer."""
    return (
        transfer.id,
        transfer.debit,
        transfer.credit,
        transfer.amount,
        _WORDS[transfer.reason],
        transfer.task,
        transfer.at,
    )
