"""Waiting for what a test means, rather than for some seconds in which it has probably happened."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 60.0
"""For anything these tests wait for, on a busy machine."""


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something to come true."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.01)
