"""Metrics of a running discovery service for Prometheus. None of them names an account, a task or an address."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ec262.adapters.metered_storage import MeteredUnitOfWork
from ec262.domain.discovery.ledger import ESCROW, MINT, SERVICE
from ec262.domain.discovery.unit_of_work import UnitOfWorkFactory
from ec262.domain.errors import ConfigurationError, DiscoveryUnavailable

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

LATENCIES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Bounds of the histogram; the last are for long polls."""


class Meter:
    """Counts nothing: used if metrics are not requested."""

    def metered(self, unit_of_work: UnitOfWorkFactory, snapshot: UnitOfWorkFactory) -> UnitOfWorkFactory:  # noqa: ARG002 - see PrometheusMeter
        """Return the storage for the service to use; ``snapshot`` makes read-only units of work, which block no
        others."""
        return unit_of_work

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a reply; ``path`` is the route's."""

    def rate_limited(self) -> None:
        """Count a request that was refused because there were too many."""

    def swept(self) -> None:
        """Record a sweep that succeeded."""


class PrometheusMeter(Meter):
    """Counts and serves metrics. Those of the storage are read on request and are the same for all processes of the
    service; the others belong to this process."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Raises ConfigurationError if prometheus-client is not installed."""
        try:
            import prometheus_client as prometheus
        except ImportError as error:
            raise ConfigurationError("metrics need a package: pip install 'ec262[metrics]'") from error
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call] # it has no annotations
        self._clock = clock
        self._swept_at = clock()
        self._snapshot: UnitOfWorkFactory | None = None
        self.registry = prometheus.CollectorRegistry()
        labels, registry = ["route", "status"], self.registry
        self._requests = prometheus.Counter("ec262_requests", "Requests answered.", labels, registry=registry)
        self._seconds = prometheus.Histogram(
            "ec262_request_seconds", "Time until the reply.", ["route"], buckets=LATENCIES_S, registry=registry
        )
        self._limited = prometheus.Counter(
            "ec262_rate_limited", "Requests refused because there were too many.", registry=registry
        )
        self._tasks = prometheus.Counter(
            "ec262_tasks", "Tasks bought, won, disputed, settled and refunded.", ["event"], registry=registry
        )
        for event in ("bought", "won", "disputed", "settled", "refunded"):
            self._tasks.labels(event)
        registry.register(self)

    def metered(self, unit_of_work: UnitOfWorkFactory, snapshot: UnitOfWorkFactory) -> UnitOfWorkFactory:
        """Return a storage that counts events of tasks."""
        self._snapshot = snapshot
        return lambda: MeteredUnitOfWork(unit_of_work(), self._count_tasks)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a reply."""
        self._requests.labels(path, status).inc()
        self._seconds.labels(path).observe(seconds)

    def rate_limited(self) -> None:
        """Count a request that was refused because there were too many."""
        self._limited.inc()

    def swept(self) -> None:
        """Record a sweep that succeeded."""
        self._swept_at = self._clock()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics that are read on request; prometheus-client calls this."""
        from prometheus_client.core import GaugeMetricFamily

        yield GaugeMetricFamily(
            "ec262_sweep_age_seconds", "Time since the last successful sweep.", self._clock() - self._swept_at
        )
        if self._snapshot is None:
            return
        try:
            with self._snapshot() as uow:
                leases, books = len(uow.pool.alive(self._clock())), uow.ledger
                granted, service = -books.balance(MINT), books.balance(SERVICE)
                tasks, escrow = books.together(ESCROW)
        except DiscoveryUnavailable:
            yield GaugeMetricFamily("ec262_storage_up", "Whether the storage answers.", 0)
            return
        yield GaugeMetricFamily("ec262_storage_up", "Whether the storage answers.", 1)
        yield GaugeMetricFamily("ec262_leases", "Workers in the pool.", leases)
        yield GaugeMetricFamily("ec262_tasks_in_escrow", "Tasks whose escrow holds credits.", tasks)
        credits = GaugeMetricFamily("ec262_credits", "Credits by holder; granted is the total.", labels=["holder"])
        # Whatever was granted and is held by no one else belongs to users, so their accounts need not be summed.
        users = granted - service - escrow
        for holder, amount in {"granted": granted, "service": service, "users": users, "escrow": escrow}.items():
            credits.add_metric([holder], amount)
        yield credits

    def _count_tasks(self, events: Mapping[str, int]) -> None:
        for event, count in events.items():
            self._tasks.labels(event).inc(count)


@contextmanager
def served_metrics(meter: PrometheusMeter, host: str, port: int) -> Iterator[int]:
    """Serve the metrics at ``/metrics`` while the body runs; yield the port. Raises ConfigurationError."""
    from prometheus_client import start_http_server

    try:
        server, thread = start_http_server(port, host, meter.registry)
    except OSError as error:
        raise ConfigurationError(f"cannot serve metrics on {host} port {port}: {error.strerror or error}") from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
