"""Numbers as parameters spell them."""

from __future__ import annotations

import re

MANY = 10**9
"""More than any parameter may be, or can mean."""


def plain_decimal(text: str) -> int | None:
    """Return the value of a run of the digits 0 to 9, ``MANY`` for all that are greater; None for anything else: signs,
    spaces, points, underscores and the digits of other scripts are no plain decimal."""
    if re.fullmatch("[0-9]+", text) is None:
        return None
    digits = text.lstrip("0") or "0"
    return int(digits) if len(digits) < len(str(MANY)) else MANY
