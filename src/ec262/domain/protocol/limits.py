"""Limits of the ``/v1`` API."""

from __future__ import annotations

MAX_BATCH = 1000
"""The most tasks that one call may buy or ask about."""

MAX_ORDERS = 100
"""The most tasks to which one call may add replicas."""

MIN_TTL_S, MAX_TTL_S = 1, 24 * 3600
MAX_DEADLINE_S = 24 * 3600

MAX_WAIT_S = 60
"""The longest time for which discovery holds back a reply."""

MAX_SLOTS = 1024
