"""A lower bound for the discovery service's cost: its database driver, writing only the rows of whole tasks.

The rows are those that the service itself wrote, under new names; so are the transactions: one for a purchase, one for
each worker's assignments, and one for each worker's commitments, with the win, its payments and what it shows about the
workers. They are equally durable. Only the driver and the database are measured: preparing the rows is not included.
``Core`` writes the same rows through SQLAlchemy, as the service's storage does.
"""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sqlalchemy import text

from ec262.adapters.sql.engine.engines import open_engine

Row = tuple[Any, ...]

TABLES = ("tasks", "replicas", "transfers", "purchases")
STAKE = 3
"""Credits in escrow for a new task."""

FETCH = "UPDATE replicas SET fetched = {true} WHERE task = {v} AND worker = {v}"
COMMIT = "UPDATE replicas SET digest = {v}, arrival = {v}, paid = {v} WHERE task = {v} AND worker = {v}"
PAY = "UPDATE replicas SET paid = {true} WHERE task = {v} AND worker = {v}"
WIN = "UPDATE tasks SET state = 'won', digest = {v}, confidence = {v}, escrow = 1 WHERE id = {v}"
SPEND = "UPDATE tasks SET escrow = 0 WHERE id = {v}"
LEARN = (
    "UPDATE reputations SET agreed = agreed + {v}, recent = recent + {v}, contributed = contributed + {v}, as_of = {v} "
    "WHERE worker = {v} AND foreman = {v}"
)
MOVE = "UPDATE balances SET balance = balance + {v} WHERE account = {v}"
ESCROW = "INSERT INTO balances (account, balance) VALUES ({v}, {v})"
CLOSE = "DELETE FROM balances WHERE account = {v}"


class Bare:
    """One connection to the service's database, configured like the service's own."""

    def __init__(self, url: str) -> None:
        if url.startswith("sqlite"):
            self._connection: Any = sqlite3.connect(urlsplit(url).path.removeprefix("/"), isolation_level=None)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
                self._connection.execute(f"PRAGMA {pragma}")
            self._mark, self._true, self._begin = "?", "1", "BEGIN IMMEDIATE"
        else:
            import psycopg

            self._connection = psycopg.connect(url, autocommit=True)
            self._mark, self._true, self._begin = "%s", "true", "BEGIN"
        self._cursor = self._connection.cursor()
        self.busy_s = self.processor_s = 0.0
        """Duration of all transactions, and the part of it in which this thread was running instead of waiting."""

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def read(self, table: str) -> tuple[list[str], list[Row]]:
        """Return a table's columns and rows."""
        self._cursor.execute(f"SELECT * FROM {table}")
        return [column[0] for column in self._cursor.description], [tuple(row) for row in self._cursor.fetchall()]

    def transaction(self, steps: Iterable[tuple[str, Sequence[Row]]]) -> None:
        """Run statements, each for all of its rows, and commit."""
        spelt = [(self._spelt(statement), rows) for statement, rows in steps]
        with self._timed():
            self._cursor.execute(self._begin)
            for statement, rows in spelt:
                self._cursor.executemany(statement, rows)
            self._cursor.execute("COMMIT")

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began, worked = time.perf_counter(), time.thread_time()
        yield
        self.busy_s += time.perf_counter() - began
        self.processor_s += time.thread_time() - worked

    def _spelt(self, statement: str) -> Any:
        """Write placeholders and booleans as this database expects them."""
        return statement.format(v=self._mark, true=self._true)


class Core(Bare):
    """The same through SQLAlchemy Core, over the service's own engine."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._engine = open_engine(url)

    def close(self) -> None:
        """Close both connections."""
        self._engine.dispose()
        super().close()

    def transaction(self, steps: Iterable[tuple[str, Sequence[Row]]]) -> None:
        """Run statements, each for all of its rows, and commit."""
        spelt = [
            (self._spelt(statement), [{f"p{place}": value for place, value in enumerate(row)} for row in rows])
            for statement, rows in steps
        ]
        with self._timed(), self._engine.begin() as connection:
            for statement, values in spelt:
                connection.execute(statement, values)

    def _spelt(self, statement: str) -> Any:
        head, *rest = statement.format(v="?", true=self._true).split("?")
        return text(head + "".join(f":p{place}{piece}" for place, piece in enumerate(rest)))


class Lifecycle:
    """The rows of one batch of tasks, to be written again and again."""

    def __init__(self, bare: Bare) -> None:
        self._bare = bare
        self._columns, self._rows = {}, {}
        for table in TABLES:
            self._columns[table], self._rows[table] = bare.read(table)
        self._at = {table: {name: place for place, name in enumerate(names)} for table, names in self._columns.items()}
        self._tasks = [row[self._at["tasks"]["id"]] for row in self._rows["tasks"]]
        self._workers = sorted({row[self._at["replicas"]["worker"]] for row in self._rows["replicas"]})
        self._foreman = self._rows["tasks"][0][self._at["tasks"]["foreman"]]
        self._numbers = itertools.count()

    @property
    def tasks(self) -> int:
        """How many tasks the batch has."""
        return len(self._tasks)

    def write(self) -> None:
        """Write the batch once more, in the service's transactions."""
        mark = f"{next(self._numbers):08x}"
        names = {task: mark + task[8:] for task in self._tasks}
        tasks = list(names.values())
        purchase = [_renamed(row, names, mark) for row in self._transfers("purchase")]
        self._bare.transaction(
            [
                (self._insert("tasks"), [self._changed("tasks", row, names, mark, state="open", digest=None,
                                                       confidence=0.0, escrow=STAKE)
                                         for row in self._rows["tasks"]]),
                (self._insert("replicas"), [self._changed("replicas", row, names, mark, digest=None, arrival=None,
                                                          paid=False, fetched=False)
                                            for row in self._rows["replicas"]]),
                (self._insert("transfers"), purchase),
                (ESCROW, [(f"escrow:{task}", STAKE) for task in tasks]),
                (MOVE, [(-STAKE * len(tasks), f"user:{self._foreman}")]),
                (self._insert("purchases"), [_renamed(row, names, mark) for row in self._rows["purchases"][:1]]),
            ]
        )  # fmt: skip
        for worker in self._workers:
            self._bare.transaction([(FETCH, [(task, worker) for task in tasks])])
        digest = b"d" * 32
        for arrival, worker in enumerate(self._workers):
            steps: list[tuple[str, Sequence[Row]]] = [
                (COMMIT, [(digest, arrival, arrival > 0, task, worker) for task in tasks])
            ]
            if arrival == 1:
                steps += [(PAY, [(task, self._workers[0]) for task in tasks])]
                steps += [(WIN, [(digest, 0.95, task) for task in tasks])]
                steps += self._payment(self._workers[:2], names, mark)
                steps += [(MOVE, [(-2, f"escrow:{task}") for task in tasks])]
            elif arrival == 2:  # noqa: PLR2004 - the third of three
                steps += self._payment([worker], names, mark)
                steps += [(SPEND, [(task,) for task in tasks])]
                steps += [(CLOSE, [(f"escrow:{task}",) for task in tasks])]
            self._bare.transaction(steps)

    def _payment(self, workers: Sequence[str], names: dict[str, str], mark: str) -> list[tuple[str, Sequence[Row]]]:
        paid = [
            _renamed(row, names, mark)
            for row in self._transfers("win")
            if any(worker in row[self._at_transfer("credit")] for worker in workers)
        ]
        right = len(names)
        return [
            (self._insert("transfers"), paid),
            (MOVE, [(right, f"user:{worker}") for worker in workers]),
            (LEARN, [(right, right, 0, time.time(), worker, of) for worker in workers for of in ("", self._foreman)]),
        ]

    def _transfers(self, reason: str) -> list[Row]:
        """Return the transfers with this reason, without their position, which the database assigns."""
        place, reasons = self._at["transfers"]["position"], self._at["transfers"]["reason"]
        return [row[:place] + row[place + 1 :] for row in self._rows["transfers"] if row[reasons] == reason]

    def _at_transfer(self, name: str) -> int:
        return [column for column in self._columns["transfers"] if column != "position"].index(name)

    def _insert(self, table: str) -> str:
        columns = [column for column in self._columns[table] if column != "position" or table != "transfers"]
        names = ", ".join(f'"{column}"' for column in columns)
        return f"INSERT INTO {table} ({names}) VALUES ({', '.join(['{v}'] * len(columns))})"

    def _changed(self, table: str, row: Row, names: dict[str, str], mark: str, **values: object) -> Row:
        changed = list(_renamed(row, names, mark))
        for name, value in values.items():
            changed[self._at[table][name]] = value
        return tuple(changed)


def _renamed(row: Row, names: dict[str, str], mark: str) -> Row:
    """Replace the names of tasks and of the purchase wherever they occur."""
    return tuple(_new_name(value, names, mark) if isinstance(value, str) else value for value in row)


def _new_name(value: str, names: dict[str, str], mark: str) -> str:
    if value in names:
        return names[value]
    if value.startswith("speed-"):
        return f"speed-{mark}"
    head, colon, rest = value.partition(":")
    if not colon:
        return value
    return f"{head}:{':'.join(_new_name(part, names, mark) for part in rest.split(':'))}"


class Pace(NamedTuple):
    """Tasks per second, and processor time per task in microseconds."""

    tasks: float
    processor_us: float


@contextmanager
def bare_rate(url: str, way: type[Bare] = Bare) -> Iterator[Callable[[float], Pace]]:
    """Yield a function that, for a number of seconds, repeatedly writes the batch of tasks that a service left in its
    database, and returns the rate."""
    bare = way(url)
    try:
        lifecycle = Lifecycle(bare)

        def rate(seconds: float) -> Pace:
            tasks, began_s, worked_s = 0, bare.busy_s, bare.processor_s
            while bare.busy_s - began_s < seconds:
                lifecycle.write()
                tasks += lifecycle.tasks
            return Pace(tasks / (bare.busy_s - began_s), (bare.processor_s - worked_s) / tasks * 1e6)

        yield rate
    finally:
        bare.close()
