"""What a task came to, in canonical form: the pairs it yielded, or the failure of the user's own code.

Both are results: they are encoded, compared and paid alike. A failure carries only what every honest machine agrees
on: no message, no traceback, no address.
"""

from __future__ import annotations

from typing import Any

import attrs

from ec262.domain import canonical
from ec262.domain.errors import NotCanonical

Pair = tuple[Any, Any]


@attrs.frozen(kw_only=True)
class Pairs:
    """The pairs that a task yielded, sorted by the keys' canonical bytes; equal keys keep the order of yielding."""

    pairs: tuple[Pair, ...]


@attrs.frozen(kw_only=True)
class Failure:
    """The user's code failed.

    ``function`` is ``mapper``, ``reducer``, ``combiner`` or ``job`` (when the functions could not be loaded);
    ``exception`` the exception's type name; ``row`` the repr of the row's key cut to a fixed length, None outside rows;
    ``frames`` the job's own frames as (function, line), outermost first.
    """

    function: str
    exception: str
    row: str | None
    frames: tuple[tuple[str, int], ...]


Outcome = Pairs | Failure


def encode_outcome(outcome: Outcome) -> bytes:
    """Return the canonical bytes of an outcome. Raises ValueNotEncodable."""
    if isinstance(outcome, Failure):
        frames = [[function, line] for function, line in outcome.frames]
        return canonical.encode(["failure", outcome.function, outcome.exception, outcome.row, frames])
    return canonical.encode(["pairs", [[key, value] for key, value in outcome.pairs]])


def decode_outcome(data: bytes) -> Outcome:
    """Read an outcome from bytes that a stranger made. Raises NotCanonical for anything that is not one."""
    match canonical.decode(data):
        case ["pairs", [*rows]]:
            return Pairs(pairs=tuple(_pair(row) for row in rows))
        case ["failure", str(function), str(exception), (str() | None) as row, [*frames]]:
            return Failure(
                function=function, exception=exception, row=row, frames=tuple(_frame(frame) for frame in frames)
            )
        case _:
            raise NotCanonical("not an outcome: expected pairs or a failure")


def _pair(row: object) -> Pair:
    match row:
        case [key, value] if isinstance(row, list):
            return key, value
        case _:
            raise NotCanonical("not an outcome: a pair is a list of two")


def _frame(frame: object) -> tuple[str, int]:
    match frame:
        case [str(function), int(line)]:
            return function, line
        case _:
            raise NotCanonical("not an outcome: a frame is a function and a line")
