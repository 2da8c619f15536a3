"""Results in the format of 2012: JSON, before encryption."""

from __future__ import annotations

import json
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from ec262.domain.errors import BadDelivery, ValueNotEncodable


def encode_result(result: Mapping[Any, Any]) -> bytes:
    """Return a dict as the JSON text of its [key, value] pairs, sorted by key, in ASCII.

    JSON preserves less than ``ec262.domain.values.canonical``: tuples are decoded as lists. Raises ValueNotEncodable if
    the keys cannot be sorted or a value cannot be written as JSON.
    """
    try:
        return json.dumps(sorted(result.items(), key=itemgetter(0))).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueNotEncodable(
            f"the result cannot be encoded for peers of 2012: {error}", type_name=type(result).__name__
        ) from error


def decode_result(text: bytes) -> dict[Any, Any]:
    """Reverse ``encode_result``. Spaces at the end are the cipher's padding and are ignored. Raises BadDelivery if the
    text is not a list of pairs."""
    try:
        return dict(_rows(json.loads(text.decode("ascii"))))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadDelivery("the result is not the JSON text of a list of pairs") from error


def _rows(decoded: object) -> list[Any]:
    if not isinstance(decoded, list) or not all(isinstance(row, list) for row in decoded):
        raise TypeError("not a list of lists")
    return decoded
