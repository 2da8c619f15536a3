"""Who may have a worker's address checked now: fair places, and waiting after failures."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ec262.domain.errors import AddressUnreachable, DiscoveryUnavailable
from ec262.domain.protocol.networks import customer

MAX_KNOCKS, MAX_KNOCKS_PER_SOURCE = 16, 8
"""Knocks under way at once: a stranger whose machine does not answer holds a thread until the time-out."""

MAX_DOUBTED, MAX_DOUBTED_PER_SOURCE, DOUBT_S = 8, 2, 300.0
"""The most knocks under way for sources with a failed knock in the last ``DOUBT_S``: for all together, and for each."""

FIRST_WAIT_S, MAX_WAIT_S = 2.0, 300.0
"""How long an account waits after a failed knock; twice as long after each further one."""

MAX_REMEMBERED = 20_000
"""Accounts and sources of which the outcome is kept; the oldest are forgotten."""


class Knocks:
    """The places for knocks. An IPv6 source counts as its /64.

    Whoever has strangers knock at silent machines holds places for as long as the time-out, so a source from which a
    knock failed has few of them, except for an account whose own last knock was answered.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._under_way: Counter[tuple[str, str]] = Counter()
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """Of an account: how many in a row, 0 after an answer, and until when it waits."""
        self._doubted: OrderedDict[str, float] = OrderedDict()
        """Sources, until when."""

    @contextmanager
    def place(self, account: str, source: str) -> Iterator[None]:
        """Hold one of the places, and note how the knock ends. Raises DiscoveryUnavailable if there is none: who finds
        none is to come again, and does not wait in the way of others."""
        name = customer(source)
        with self._lock:
            limits = self._limits(account, name)
            if any(self._under_way[each] >= limit for each, limit in limits.items()):
                raise DiscoveryUnavailable("too many registrations are being checked: try again in a few seconds")
            self._under_way.update(limits.keys())
        try:
            yield
        except AddressUnreachable:
            self._note_failure(account, name)
            raise
        else:
            self._note_answer(account)
        finally:
            with self._lock:
                self._under_way.subtract(limits.keys())
                self._under_way = +self._under_way

    def _limits(self, account: str, source: str) -> dict[tuple[str, str], int]:
        now = self._clock()
        failures, wait_until = self._failures.get(account, (None, 0.0))
        if now < wait_until:
            raise DiscoveryUnavailable(
                f"nobody answered at this worker's address just now: try again in {wait_until - now:.0f} s"
            )
        limits = {("all", ""): MAX_KNOCKS, ("source", source): MAX_KNOCKS_PER_SOURCE, ("account", account): 1}
        if self._doubted.get(source, 0.0) > now and failures != 0:
            limits |= {("doubted", ""): MAX_DOUBTED, ("doubted", source): MAX_DOUBTED_PER_SOURCE}
        return limits

    def _note_failure(self, account: str, source: str) -> None:
        with self._lock:
            now = self._clock()
            failures = self._failures.pop(account, (0, 0.0))[0] + 1
            wait_s = min(MAX_WAIT_S, FIRST_WAIT_S * 2 ** min(failures - 1, 10))
            self._failures[account] = failures, now + wait_s
            self._doubted.pop(source, None)
            self._doubted[source] = now + DOUBT_S
            _forget_oldest(self._failures)
            _forget_oldest(self._doubted)

    def _note_answer(self, account: str) -> None:
        with self._lock:
            self._failures.pop(account, None)
            self._failures[account] = 0, 0.0
            _forget_oldest(self._failures)


def _forget_oldest(outcomes: OrderedDict[str, tuple[int, float]] | OrderedDict[str, float]) -> None:
    if len(outcomes) > MAX_REMEMBERED:
        outcomes.popitem(last=False)
