"""What runs inside every sandbox: load the functions, call them row by row, put what they yield in canonical form.

Kept apart from the adapters: the Linux sandbox loads it when a worker starts, before any job is there.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

from ec262.adapters.sandbox import randomness, report
from ec262.adapters.sandbox.grouping import BATCH_PAIRS, Grouping
from ec262.adapters.sandbox.log import Log
from ec262.adapters.sandbox.note import Note
from ec262.domain.errors import JobDefinitionError, NotCanonical, ValueNotEncodable, key_text
from ec262.domain.values import canonical
from ec262.domain.values.pairs import is_number
from ec262.domain.values.rounding import round_floats
from ec262.domain.work.outcome import Pairs, encode_outcome

Pair = tuple[Any, Any]


class Yielded(NamedTuple):
    """What a function yielded: ``pairs`` of all rows, one behind the other; those of row n end at ``ends[n]``."""

    rows: list[Pair]
    pairs: list[Pair]
    ends: list[int]


class Run:
    """One task under way. ``where`` tells at any moment, also from a signal handler, what it is at."""

    def __init__(
        self, *, phase: str, seed: int, log: Log, round_floats: int = 0, note: Note = lambda _function, _row: None
    ) -> None:
        """``phase`` is ``map`` or ``reduce``; ``seed`` is the job's; ``log`` takes the traceback of a failure;
        ``round_floats`` is to how many digits floats are rounded, 0: not at all; ``note`` is told of each row."""
        self._phase = phase
        self._seed = seed
        self._log = log
        self._digits = round_floats
        self._note = note
        self._function = "job"
        self._row: tuple[Any] | None = None

    @property
    def where(self) -> str:
        """What the task is at: "in the mapper at the row with key 'x'"."""
        if self._row is not None:
            return f"in the {self._function} at the row with key {key_text(self._row[0])}"
        return "while the job was loaded" if self._function == "job" else f"after the {self._function}'s last row"

    def compute(self, functions: bytes, rows: bytes) -> bytes:
        """Return the canonical outcome; whatever the job's code raises is one.

        Raises MemoryError, and nothing else: the memory limit was hit.
        """
        try:
            return self._encode(self._call_all(functions, rows))
        except MemoryError:
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit and its like are the job's failures, too
            row = None if self._row is None else key_text(self._row[0])
            self._log.end_with(report.traceback_text(error))
            return encode_outcome(report.failure(error, function=self._function, row=row))
        finally:
            randomness.leave_alone()

    def _call_all(self, functions: bytes, rows: bytes) -> Yielded:
        inputs = _read_rows(rows)
        randomness.seed_row(f"{self._seed}:job".encode())
        job = pickle.loads(functions)  # noqa: S301 - to load what a stranger sent is what a sandbox is for
        if not isinstance(job, dict):
            raise JobDefinitionError(f"a job is a dict of functions, not {type(job).__name__}")
        if self._phase == "reduce":
            return self._apply("reducer", job, [(key, tuple(values)) for key, values in inputs])
        if job.get("combiner") is None:
            yielded = self._apply("mapper", job, inputs)
        else:
            yielded = self._apply("combiner", job, self._grouped(job, inputs))
        return yielded if job.get("partitioner") is None else self._numbered(yielded, job["partitioner"])

    def _numbered(self, yielded: Yielded, partitioner: Callable[..., Any]) -> Yielded:
        """Put the number that the partitioner gives it before each key."""
        names = self._key_names(yielded)
        yielder, self._function = self._function, "partitioner"
        salt = f"{self._seed}:partitioner:".encode()
        numbers: dict[bytes, int] = {}
        for name, (key, _) in zip(names, yielded.pairs, strict=True):
            if name in numbers:
                continue
            self._row = (key,)
            self._note(b"partitioner", name)
            randomness.seed_row(salt + name)
            number = partitioner(key)
            if not is_number(number):
                returned = f"the partitioner returned {_told(number)} where an int of 64 bits is needed"
                raise _misfit(returned, partitioner)
            numbers[name] = number
        self._row = None
        self._note(b"partitioner", b"")
        self._function = yielder
        pairs = [((numbers[name], key), value) for name, (key, value) in zip(names, yielded.pairs, strict=True)]
        return yielded._replace(pairs=pairs)

    def _apply(self, name: str, job: dict[str, Any], rows: list[Pair]) -> Yielded:
        """Call one of the job's functions for each row."""
        taken: list[Yielded] = []
        self._call(name, job, rows, taken.append)
        (yielded,) = taken
        return yielded

    def _grouped(self, job: dict[str, Any], rows: list[Pair]) -> list[Pair]:
        """Call the mapper for each row; return (key, values) for each key, in the order of their canonical bytes."""
        grouping = Grouping()

        def take(yielded: Yielded) -> None:
            try:
                grouping.add(yielded.pairs)
            except ValueNotEncodable:
                self._blame(yielded, for_keys=True)
                raise

        self._call("mapper", job, rows, take, BATCH_PAIRS)
        return grouping.rows()

    def _call(
        self,
        name: str,
        job: dict[str, Any],
        rows: list[Pair],
        take: Callable[[Yielded], None],
        batch_pairs: float = math.inf,
    ) -> None:
        """Call one of the job's functions for each row, each with its own randomness; ``take`` gets what it yielded for
        a number of rows whenever that are so many pairs, and at the end.

        No generator, which would make another error of a job's StopIteration.
        """
        function = job.get(name)
        if not callable(function):
            raise JobDefinitionError(f"the job has no {name}")
        row_names = canonical.encode_each([key for key, _ in rows])
        self._function = name
        salt = f"{self._seed}:{name}:".encode()
        note, note_name = self._note, name.encode()
        first, pairs, ends = 0, [], []  # type: int, list[Pair], list[int]
        for row, row_name in zip(rows, row_names, strict=True):
            if len(pairs) >= batch_pairs:
                take(Yielded(rows[first : first + len(ends)], pairs, ends))
                first, pairs, ends = first + len(ends), [], []
            self._row = row[:1]
            note(note_name, row_name)
            randomness.seed_row(salt + row_name)
            _gather(function, row, name, pairs)
            if self._digits:
                # Before anything else is done with them: a combiner groups by rounded keys.
                start = ends[-1] if ends else 0
                pairs[start:] = [round_floats(pair, self._digits) for pair in pairs[start:]]
            ends.append(len(pairs))
        self._row = None
        note(note_name, b"")
        take(Yielded(rows[first:], pairs, ends))

    def _encode(self, yielded: Yielded) -> bytes:
        try:
            return encode_outcome(Pairs(pairs=tuple(yielded.pairs)))
        except ValueNotEncodable:
            self._blame(yielded)
            raise

    def _key_names(self, yielded: Yielded) -> list[bytes]:
        try:
            return canonical.encode_each([key for key, _ in yielded.pairs])
        except ValueNotEncodable:
            self._blame(yielded)
            raise

    def _blame(self, yielded: Yielded, *, for_keys: bool = False) -> None:
        """Raise for the first pair without a canonical form, or only for its key, at the row that yielded it."""
        start = 0
        for row, end in zip(yielded.rows, yielded.ends, strict=True):
            self._row = row[:1]
            for key, value in yielded.pairs[start:end]:
                what = "a key"
                try:
                    canonical.encode(key)
                    what = f"the key {key_text(key)} with a value"
                    canonical.encode(None if for_keys else value)
                except ValueNotEncodable as error:
                    error.add_note(f"the {self._function} yielded {what} that has no canonical form")
                    raise
            start = end


def _read_rows(data: bytes) -> list[Pair]:
    # Whether they are in canonical form is the foreman's affair: comparable interpreters read the same from them.
    rows = canonical.parse(data)
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == 2 for row in rows):  # noqa: PLR2004 - a key and a value
        raise NotCanonical("the rows of a task are a list of [key, value] lists")
    return [(key, value) for key, value in rows]


def _gather(function: Callable[..., Any], row: Pair, name: str, pairs: list[Pair]) -> None:
    """Call a function for a row and append what it yields; None is nothing."""
    yielded = function(*row)
    if yielded is None:
        return
    if not hasattr(yielded, "__iter__") or isinstance(yielded, (dict, str, bytes, bytearray)):
        hint = ": return its .items()" if isinstance(yielded, dict) else ""
        returned = f"the {name} returned {_told(yielded)} where an iterable of (key, value) pairs is needed{hint}"
        raise _misfit(returned, function)
    for pair in yielded:
        if type(pair) is tuple and len(pair) == 2:  # noqa: PLR2004 - as nearly all are: the shortest way
            pairs.append(pair)
            continue
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:  # noqa: PLR2004 - a key and a value
            hint = ": return a list of pairs, or yield them" if type(yielded) is tuple else ""
            raise _misfit(f"the {name} yielded {_told(pair)} where a (key, value) pair is needed{hint}", function)
        pairs.append((pair[0], pair[1]))


def _misfit(text: str, function: Callable[..., Any]) -> TypeError:
    """Return the error for what is no pair; the function has returned, so no frame of a traceback tells where it is."""
    error = TypeError(text)
    code = getattr(function, "__code__", None)
    if code is not None:
        error.add_note(f"the function is at {code.co_filename}, line {code.co_firstlineno}")
    return error


def _told(value: Any) -> str:
    return f"{key_text(value)} ({type(value).__name__})"
