"""Accounts, books, leases and purchases over one open transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import attrs
import msgspec
from sqlalchemy import RowMapping, bindparam, delete, insert, select, update

from ec262.adapters.sql import schema
from ec262.adapters.sql.statements import Statements
from ec262.domain.accounts import Account
from ec262.domain.commands import WorkerAddress
from ec262.domain.errors import LedgerError
from ec262.domain.ledger import Reason, Transfer, moved
from ec262.domain.pool import Member
from ec262.domain.purchases import PurchaseRecord
from ec262.domain.runtime import RuntimeClass


class SqlAccounts:
    """Who is known."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def by_token(self, token_digest: bytes) -> Account | None:
        """Find the account that a token opens."""
        row = self._statements.row(
            select(schema.accounts).where(schema.accounts.c.token_digest == bindparam("digest")),
            {"digest": token_digest},
        )
        return None if row is None else Account(**row)

    def add(self, account: Account) -> None:
        """Store a new account."""
        self._statements.run(insert(schema.accounts), attrs.asdict(account))


class SqlLedger:
    """The books. An account without a row has no credits."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def post(self, transfer: Transfer) -> None:
        """Move credits, once."""
        table = schema.transfers
        row = self._statements.row(select(table).where(table.c.id == bindparam("key")), {"key": transfer.id})
        if row is None:
            self._move(transfer)
        elif _transfer(row) != transfer:
            raise LedgerError(f"the transfer {transfer.id} was posted before, and was another")

    def _move(self, transfer: Transfer) -> None:
        table = schema.balances
        rows = self._statements.rows(
            select(table).where(table.c.account.in_(bindparam("accounts", expanding=True))),
            {"accounts": [transfer.debit, transfer.credit]},
        )
        before = {row["account"]: row["balance"] for row in rows}
        for account, balance in moved(before, transfer).items():
            values = {"key": account, "account": account, "balance": balance}
            if balance == 0:
                self._statements.run(delete(table).where(table.c.account == bindparam("key")), {"key": account})
            elif account in before:
                self._statements.run(update(table).where(table.c.account == bindparam("key")), values)
            else:
                self._statements.run(insert(table), {"account": account, "balance": balance})
        values = attrs.asdict(transfer, recurse=False) | {"reason": transfer.reason.value}
        self._statements.run(insert(schema.transfers), values)

    def balance(self, account: str) -> int:
        """Return the balance of a ledger account."""
        table = schema.balances
        row = self._statements.row(select(table).where(table.c.account == bindparam("key")), {"key": account})
        return 0 if row is None else int(row["balance"])

    def balances(self) -> Mapping[str, int]:
        """Return every balance that is not zero."""
        return {row["account"]: row["balance"] for row in self._statements.rows(select(schema.balances))}

    def transfers(self) -> Sequence[Transfer]:
        """Return every movement, oldest first."""
        rows = self._statements.rows(select(schema.transfers).order_by(schema.transfers.c.position))
        return [_transfer(row) for row in rows]


class SqlPool:
    """The leases of workers."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def get(self, worker: str) -> Member | None:
        """Find a worker's lease, run out or not."""
        table = schema.members
        row = self._statements.row(select(table).where(table.c.worker == bindparam("key")), {"key": worker})
        return None if row is None else _member(row)

    def put(self, member: Member) -> None:
        """Add or replace a worker's lease."""
        self.remove(member.worker)
        values = {
            "worker": member.worker,
            **attrs.asdict(member.address),
            "runtime": msgspec.json.encode(member.runtime).decode(),
            "packages": msgspec.json.encode(sorted(member.packages)).decode(),
            "slots": member.slots,
            "expires_at": member.expires_at,
        }
        self._statements.run(insert(schema.members), values)

    def remove(self, worker: str) -> None:
        """End a worker's lease, if it has one."""
        table = schema.members
        self._statements.run(delete(table).where(table.c.worker == bindparam("key")), {"key": worker})

    def alive(self, now: float) -> Sequence[Member]:
        """Return the leases that end after ``now``."""
        table = schema.members
        rows = self._statements.rows(
            select(table).where(table.c.expires_at > bindparam("now")).order_by(table.c.worker), {"now": now}
        )
        return [_member(row) for row in rows]

    def purge(self, now: float) -> None:
        """Drop the leases that end at ``now`` or before."""
        table = schema.members
        self._statements.run(delete(table).where(table.c.expires_at <= bindparam("now")), {"now": now})


class SqlPurchases:
    """The ids that foremen made."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def get(self, purchase: str) -> PurchaseRecord | None:
        """Find a purchase."""
        table = schema.purchases
        row = self._statements.row(select(table).where(table.c.id == bindparam("key")), {"key": purchase})
        return None if row is None else PurchaseRecord(**row)

    def add(self, record: PurchaseRecord) -> None:
        """Store a new purchase."""
        self._statements.run(insert(schema.purchases), attrs.asdict(record))

    def forget(self, now: float) -> None:
        """Drop the purchases to be forgotten that moved no credits."""
        table = schema.purchases
        self._statements.run(
            delete(table).where(table.c.forgotten_at <= bindparam("now"), table.c.price == 0), {"now": now}
        )


def _transfer(row: RowMapping) -> Transfer:
    values = {name: value for name, value in row.items() if name != "position"}
    return Transfer(**values | {"reason": Reason(row["reason"])})


def _member(row: RowMapping) -> Member:
    return Member(
        worker=row["worker"],
        address=WorkerAddress(host=row["host"], port=row["port"], fingerprint=row["fingerprint"]),
        runtime=_runtime(row["runtime"]),
        packages=_packages(row["packages"]),
        slots=row["slots"],
        expires_at=row["expires_at"],
    )


@lru_cache(maxsize=256)
def _runtime(text: str) -> RuntimeClass:
    """Workers come in few kinds: those of one kind share the value."""
    return msgspec.json.decode(text, type=RuntimeClass)


@lru_cache(maxsize=256)
def _packages(text: str) -> frozenset[str]:
    return msgspec.json.decode(text, type=frozenset[str])
