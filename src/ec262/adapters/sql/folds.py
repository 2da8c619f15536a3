"""What old transfers come to: added up, and kept in their place."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, select, text

from ec262.adapters.sql.engine.dialects import one_of
from ec262.adapters.sql.engine.statements import Statements
from ec262.adapters.sql.schema import schema
from ec262.adapters.sql.transfers import FOLD_COLUMNS, TRANSFER_COLUMNS, fold_of, transfer_of
from ec262.domain.discovery.folding import NO_MONTH, REASONS, Fold, fold
from ec262.domain.protocol.reason import Reason

_folds, _transfers = schema.folds, schema.transfers

_COLUMNS = tuple(column.name for column in FOLD_COLUMNS)
_SUMS = ("movements", *REASONS)

_LATER = "CASE WHEN excluded.position > folds.position THEN excluded.{0} ELSE folds.{0} END"
_ADD = text(
    f"INSERT INTO folds ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)}) "  # noqa: S608 - the schema's own names
    "ON CONFLICT (account, month) DO UPDATE SET "
    + ", ".join(
        [
            *(f"{name} = folds.{name} + excluded.{name}" for name in _SUMS),
            *(f"{name} = {_LATER.format(name)}" for name in ("at", "position")),
        ]
    )
)
_CHANGE = sum((_folds.c[name] for name in REASONS[1:]), start=_folds.c[REASONS[0]])
_DROP_EMPTY = delete(_folds).where(one_of(_folds.c.account, "accounts"), _folds.c.month == NO_MONTH, _CHANGE == 0)
_ALL = select(*FOLD_COLUMNS).order_by(_folds.c.account, _folds.c.month)

_OLD = (
    _transfers.c.position > bindparam("after"),
    _transfers.c.position <= bindparam("upto"),
    _transfers.c.reason != Reason.GRANT.value,
)
# Who else folds the same ones waits here, and finds none.
_TAKE = delete(_transfers).where(*_OLD).returning(*TRANSFER_COLUMNS)


def fold_transfers(statements: Statements, *, after: int, upto: int) -> None:
    """Replace transfers behind one position, up to another, by what they come to."""
    taken = statements.fetch(_TAKE, {"after": after, "upto": upto})
    new = fold((row[0], transfer_of(row)) for row in taken)
    statements.change_each(_ADD, _COLUMNS, [tuple(getattr(each, name) for name in _COLUMNS) for each in new])
    escrows = [each.account for each in new if each.month == NO_MONTH]
    if escrows:
        statements.change(_DROP_EMPTY, {"accounts": escrows})


def all_folds(statements: Statements) -> list[Fold]:
    """Return every sum, in the order of accounts and months."""
    return [fold_of(row) for row in statements.fetch(_ALL)]
