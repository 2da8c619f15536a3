"""Reads the parameters of requests, which map names to text, into commands.

Every function raises InvalidRequest for an invalid value. Unknown names are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ec262.domain.errors import InvalidRequest
from ec262.domain.legacy_2012.constants_2012 import MAX_LEASE_S, MAX_PORT, Constants2012
from ec262.domain.legacy_2012.numbers_2012 import plain_decimal

LEAVE_S = -1
"""The lease with which a worker leaves the pool."""

Parameters = Mapping[str, str]


@attrs.frozen(kw_only=True)
class Registration:
    """``POST /workers``: where the sender listens, and for how many seconds it joins the pool; ``LEAVE_S`` to leave."""

    port: int
    ttl_s: int


@attrs.frozen(kw_only=True)
class Ending:
    """``DELETE /tasks/ID``: whether the result was ``valid``, and which worker was ``missing``.

    ``valid`` is kept as it was sent, because it is checked only after the caller's right to the task (see
    ``is_valid``).
    """

    task: str
    valid: str | None
    missing: str | None


def registration(parameters: Parameters, constants: Constants2012) -> Registration:
    """Read ``port`` and ``ttl``; the defaults are in the constants."""
    port = plain_decimal(parameters.get("port", str(constants.default_port)))
    if port is None or not 1 <= port <= MAX_PORT:
        raise InvalidRequest(f"port must be a whole number from 1 to {MAX_PORT}")
    text = parameters.get("ttl", str(constants.lease_s))
    if text == str(LEAVE_S):
        return Registration(port=port, ttl_s=LEAVE_S)
    ttl_s = plain_decimal(text)
    if ttl_s is None or not 1 <= ttl_s <= MAX_LEASE_S:
        raise InvalidRequest(f"ttl must be a whole number of seconds from 1 to {MAX_LEASE_S}, or {LEAVE_S} to leave")
    return Registration(port=port, ttl_s=ttl_s)


def tasks_wanted(parameters: Parameters) -> int:
    """Read ``n``, the most tasks that a foreman wants. The default is 1."""
    wanted = plain_decimal(parameters.get("n", "1"))
    if wanted is None or wanted < 1:
        raise InvalidRequest("n must be a plain decimal number of at least 1")
    return wanted


def ending(task: str, parameters: Parameters) -> Ending:
    """Read ``valid`` and ``missing`` without checking them."""
    return Ending(task=task, valid=parameters.get("valid"), missing=parameters.get("missing"))


def is_valid(valid: str | None) -> bool:
    """Return whether ``valid`` calls the result valid."""
    if valid not in {"1", "0", None}:
        raise InvalidRequest("valid must be 1 or 0")
    return valid == "1"
