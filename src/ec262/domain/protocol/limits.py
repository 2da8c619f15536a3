"""Limits of the calls of the ``/v1`` API."""

from __future__ import annotations

MAX_BATCH = 1000
"""Most tasks that one call may buy or ask after."""


MAX_ORDERS = 100
"""Most tasks to which one call may add replicas."""


MIN_TTL_S, MAX_TTL_S = 1, 24 * 3600


MAX_DEADLINE_S = 24 * 3600


MAX_WAIT_S = 60
"""Longest time that discovery holds an answer back until there is news."""


MAX_SLOTS = 1024
