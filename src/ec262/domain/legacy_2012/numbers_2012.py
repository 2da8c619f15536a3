"""Numbers in parameters."""

from __future__ import annotations

import re

MANY = 10**9
"""More than any parameter may be."""


def plain_decimal(text: str) -> int | None:
    """Return the value of a text of digits 0 to 9, but at most ``MANY``, or None for any other text: signs, spaces,
    points, underscores and digits of other scripts are not allowed."""
    if re.fullmatch("[0-9]+", text) is None:
        return None
    digits = text.lstrip("0") or "0"
    return int(digits) if len(digits) < len(str(MANY)) else MANY
