"""The outcome of a task in canonical form: the pairs that it yielded, a failure of the job's code, or what stopped it.

All three are results: they are encoded, compared and paid in the same way, and are encrypted until they are paid. They
contain only what all honest machines agree on: no message, no traceback, no address.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import attrs
from attrs import validators as v

from ec262.domain.errors import NotCanonical
from ec262.domain.values import canonical
from ec262.domain.values.canonical import encode_list
from ec262.domain.values.pairs import Pair, encode_pairs, plain_rows
from ec262.domain.values.plain_pairs import read_plain_pairs
from ec262.domain.work.roles import ROLES

__all__ = [
    "MAX_FRAMES",
    "MAX_TEXT_CHARS",
    "Failure",
    "Outcome",
    "Pair",
    "Pairs",
    "Stopped",
    "decode_other_outcome",
    "decode_outcome",
    "encode_outcome",
    "is_stopped",
]

MAX_TEXT_CHARS = 2000
"""The longest text in a failure."""

MAX_FRAMES = 100

CRASH = "crash"
STOPS = ("cpu", "wall", "memory", "output", CRASH)
"""What can stop a task before it has finished: a limit or a crash of its process."""

_STOPPED_HEAD = b'["stopped",'

_text = v.and_(v.instance_of(str), v.max_len(MAX_TEXT_CHARS))


def _check_frames(_failure: object, _attribute: object, frames: tuple[tuple[object, object], ...]) -> None:
    for function, line in frames:
        if not isinstance(function, str) or len(function) > MAX_TEXT_CHARS or type(line) is not int or line < 0:
            raise ValueError("a frame must be a function name and a line number")


@attrs.frozen(kw_only=True)
class Pairs:
    """The pairs that a task yielded.

    The canonical form is sorted by the keys' canonical bytes; pairs with the same key keep the order in which they were
    yielded.
    """

    pairs: tuple[Pair, ...]


@attrs.frozen(kw_only=True)
class Failure:
    """The job's code failed.

    ``function`` is ``mapper``, ``reducer``, ``combiner``, ``partitioner``, or ``job`` if the functions could not be
    loaded. ``exception`` is the exception's type name. ``row`` is the repr of the row's key, cut to a fixed length, or
    None outside rows. ``frames`` are the job's own frames as (function, line), outermost first.
    """

    function: str = attrs.field(validator=v.in_((*ROLES, "job")))
    exception: str = attrs.field(validator=_text)
    row: str | None = attrs.field(validator=v.optional(_text))
    frames: tuple[tuple[str, int], ...] = attrs.field(validator=[v.max_len(MAX_FRAMES), _check_frames])


@attrs.frozen(kw_only=True)
class Stopped:
    """The task hit a limit, or its process crashed: ``by`` is one of ``STOPS``. The details are in the log, which is
    not compared."""

    by: str = attrs.field(validator=v.in_(STOPS))


Outcome = Pairs | Failure | Stopped


def encode_outcome(outcome: Outcome) -> bytes:
    """Return the canonical bytes of an outcome. Raises ValueNotEncodable, which names the key and the type."""
    if isinstance(outcome, Failure):
        frames = [list(frame) for frame in outcome.frames]
        return canonical.encode(["failure", outcome.function, outcome.exception, outcome.row, frames])
    if isinstance(outcome, Stopped):
        return canonical.encode(["stopped", outcome.by])
    plain = plain_rows(outcome.pairs)
    if plain is not None:
        return f'["pairs",[{",".join(plain)}]]'.encode()
    keys, values = encode_pairs(outcome.pairs)
    rows = sorted(zip(keys, values, strict=True), key=itemgetter(0))
    return encode_list([b'"pairs"', encode_list(map(encode_list, rows))])


def is_stopped(data: bytes) -> bool:
    """Return whether canonical bytes are the outcome of a stopped task, judging by their beginning."""
    return data.startswith(_STOPPED_HEAD)


def decode_outcome(data: bytes) -> Outcome:
    """Read an outcome from a stranger's bytes. Raises NotCanonical if they are not an outcome.

    The order of pairs is not checked: it only serves to make honest machines agree.
    """
    plain = read_plain_pairs(data)
    return decode_other_outcome(data) if plain is None else Pairs(pairs=tuple(plain))


def decode_other_outcome(data: bytes) -> Outcome:
    """Read an outcome that ``read_plain_pairs`` does not handle. Raises NotCanonical if it is not an outcome."""
    value = canonical.decode(data)
    match value if isinstance(value, list) else None:
        case ["pairs", rows]:
            return Pairs(pairs=_twos(rows))
        case ["failure", function, exception, row, frames]:
            try:
                return Failure(function=function, exception=exception, row=row, frames=_twos(frames))
            except (ValueError, TypeError) as error:
                raise NotCanonical(f"not a failure: {error}") from error
        case ["stopped", str(by)] if by in STOPS:
            return Stopped(by=by)
        case _:
            raise NotCanonical("not an outcome: expected pairs, a failure, or the limit or crash that stopped the task")


def _twos(rows: Any) -> tuple[Pair, ...]:
    if not isinstance(rows, list) or not set(map(type, rows)) <= {list} or not set(map(len, rows)) <= {2}:
        raise NotCanonical("not an outcome: expected a list of two-item lists")
    return tuple(map(tuple, rows))
