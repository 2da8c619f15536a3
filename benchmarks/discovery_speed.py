"""How fast the discovery service is: whole tasks per second over HTTP, from purchase to payment.

    python -m benchmarks.discovery_speed [--seconds S] [--tasks N] [--only sqlite|postgres] [--batches N ...]

Run it from the project's root. A task requires a purchase with three workers, three reads of the assignment, three
commitments and the verdict: eight requests, for one task or for a batch. Each rate is compared with baselines of the
same run: empty requests to the bare framework, and transactions through the bare driver, with the same rows and
batches, and again through SQLAlchemy. Then follow 50 concurrent clients, and the service's memory over many tasks.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import os
import re
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.bare_transactions import Core, Pace, bare_rate
from ec262.adapters.jobs.local_runtime import local_python, runtime_class
from ec262.adapters.tcp.listener import TcpListener
from ec262.domain.ports.transport import Connection
from ec262.entrypoints.http.server import serve_on_socket

BATCHES = (1, 10, 100, 500)
CLIENTS = 50
WORKERS = 3
TURNS = 5
REQUESTS = 8
"""Requests for a task, or for a batch."""

SAMPLES = 10
"""Of the service's memory, while it processes many tasks."""

RICH = 1_000_000_000


class Client:
    """One account, over one persistent connection."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=60)
        self._headers = {"Authorization": f"Bearer {secrets.token_urlsafe(32)}", "Content-Type": "application/json"}
        self.latencies: list[float] = []

    def ask(self, method: str, path: str, body: object) -> Any:
        """Send a request, and return the decoded reply; record how long that took."""
        began = time.perf_counter()
        self._connection.request(method, path, msgspec.json.encode(body), self._headers)
        response = self._connection.getresponse()
        content = response.read()
        self.latencies.append(time.perf_counter() - began)
        if response.status != 200:  # noqa: PLR2004 - HTTP's OK
            raise AssertionError((path, response.status, content))
        return msgspec.json.decode(content)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def lifecycle(foreman: Client, workers: Sequence[Client], batch: int) -> None:
    """Take a batch of tasks from purchase to verdict."""
    order = {
        "purchase": f"speed-{secrets.token_hex(8)}",
        "tasks": batch,
        "rule": "majority:3",
        "requirement": {"python": msgspec.to_builtins(local_python())},
        "deadline_s": 3600,
    }
    purchase = foreman.ask("POST", "/v1/purchases", order)
    tasks = [task["task"] for task in purchase["tasks"]]
    if len(tasks) < batch:
        raise AssertionError(purchase["shortfall"])
    commitments = {"commitments": [{"task": task, "digest": secrets.token_bytes(32)} for task in tasks]}
    for worker in workers:
        worker.ask("POST", "/v1/assignments", {"tasks": tasks})
    for worker in workers:
        worker.ask("POST", "/v1/commitments", commitments)
    verdicts = foreman.ask("POST", "/v1/verdicts", {"tasks": tasks})["verdicts"]
    if [len(verdict["winners"]) for verdict in verdicts] != [WORKERS] * batch:
        raise AssertionError(verdicts)


# --- servers --------------------------------------------------------------------------------------------------------


@contextmanager
def announced(*command: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a server that prints its URL; yield its process and the URL."""
    running = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    try:
        match = re.search(r"(http://127\.0\.0\.1:\d+)", running.stdout.readline())
        if match is None:
            raise AssertionError(command)
        yield running, match[1]
    finally:
        running.terminate()
        running.wait()
        running.stdout.close()


def discovery(url: str) -> contextlib.AbstractContextManager[tuple[subprocess.Popen[str], str]]:
    """Run the discovery service as an operator would, without limits that a benchmark would hit."""
    flags = ["--port", "0", "--database", url, "--grant", str(RICH), "--rate", "1000000", "--burst", "1000000"]
    limits = ["--max-open-tasks", "1000000", "--max-escrow", "1000000"]
    return announced("ec262.entrypoints.discovery", *flags, *limits)


def serve_nothing() -> None:
    """Serve empty replies with the framework that the service is built on, in the same way."""

    async def nothing(request: Request) -> Response:
        await request.body()
        return Response(b"{}", media_type="application/json")

    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        app = Starlette(routes=[Route("/v1/nothing", nothing, methods=["POST"])])
        app.state.on_stopping = lambda: None
        serve_on_socket(app, listening)


@contextmanager
def door() -> Iterator[dict[str, Any]]:
    """Open a worker's port for discovery to probe; yield the registration that names it."""
    opened, closing = threading.Event(), threading.Event()
    found: dict[str, Any] = {}

    async def hang_up(connection: Connection) -> None:
        await connection.close()

    async def stand_open() -> None:
        listener = TcpListener("127.0.0.1", 0)
        endpoint = await listener.start(hang_up)
        runtime = msgspec.to_builtins(runtime_class("linux"))
        found.update(port=endpoint.port, fingerprint=endpoint.fingerprint, runtime=runtime, slots=1024, ttl_s=86400)
        opened.set()
        await asyncio.to_thread(closing.wait)
        await listener.close()

    thread = threading.Thread(target=asyncio.run, args=(stand_open(),))
    thread.start()
    try:
        opened.wait()
        yield found
    finally:
        closing.set()
        thread.join()


@contextmanager
def employed(url: str) -> Iterator[list[Client]]:
    """Keep three workers in the pool."""
    with door() as registration:
        workers = [Client(url) for _ in range(WORKERS)]
        for worker in workers:
            worker.ask("POST", "/v1/account", {})
            worker.ask("PUT", "/v1/worker", registration)
        yield workers
        for worker in workers:
            worker.close()


# --- measurements ---------------------------------------------------------------------------------------------------


def rate(step: Callable[[], object], seconds: float) -> float:
    """Return how many times per second a step can be done."""
    step()
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step()
        steps += 1
    return steps / (time.perf_counter() - began)


@contextmanager
def empty_rate() -> Iterator[Callable[[float], float]]:
    """Yield a function that measures the rate of empty requests to the bare framework, for one client."""
    with announced("benchmarks.discovery_speed", "--serve-nothing") as (_, url):
        client = Client(url)
        try:
            yield lambda seconds: rate(lambda: client.ask("POST", "/v1/nothing", {}), seconds)
        finally:
            client.close()


@contextmanager
def whole_rate(database: str, batch: int) -> Iterator[Callable[[float], Pace]]:
    """Yield a function that measures how fast the service is, for one foreman with three workers."""
    with discovery(database) as (running, url), employed(url) as workers:
        foreman = Client(url)
        foreman.ask("POST", "/v1/account", {})

        def pace(seconds: float) -> Pace:
            tasks, began, worked_s = 0, time.perf_counter(), processor_s(running.pid)
            while not tasks or time.perf_counter() - began < seconds:
                lifecycle(foreman, workers, batch)
                tasks += batch
            took_s = time.perf_counter() - began
            return Pace(tasks / took_s, (processor_s(running.pid) - worked_s) / tasks * 1e6)

        try:
            yield pace
        finally:
            foreman.close()


def processor_s(pid: int) -> float:
    """Return the processor time of a process, to a hundredth of a second (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(name: str, fresh: Callable[[], str], *, seconds: float, batches: Sequence[int] = BATCHES) -> None:
    """Print one line for each batch size: tasks per second, and their ratio to the baselines: bare transactions, the
    same through SQLAlchemy, and empty requests.

    They take turns, and the best turn of each counts, because other load on the machine hits one, then another.
    Processor time is shown, too: on a busy machine, waiting for the disk and the processor hides it.
    """
    for batch in batches:
        database = fresh()
        with whole_rate(database, batch) as once:
            once(0)
        other = fresh()
        with whole_rate(other, batch) as once:
            once(0)
        with (
            bare_rate(database) as bare,
            bare_rate(other, Core) as core,
            empty_rate() as empty,
            whole_rate(fresh(), batch) as whole,
        ):
            whole(0)
            turns = [
                (bare(seconds / TURNS), core(seconds / TURNS), whole(seconds / TURNS), empty(seconds / TURNS))
                for _ in range(TURNS)
            ]
        *paces, empties = zip(*turns, strict=True)
        best_bare, best_core, tasks = (max(pace.tasks for pace in turn) for turn in paces)
        bare_us, _, whole_us = (min(pace.processor_us for pace in turn) for turn in paces)
        best_empty = max(empties)
        requests = tasks / batch * REQUESTS
        print(
            f"{name:10} {batch:5} per batch: {tasks:8.0f} tasks/s, {tasks / best_bare:5.2f} of bare transactions "
            f"({best_bare:.0f}/s), {tasks / best_core:5.2f} of those through SQLAlchemy ({best_core:.0f}/s); "
            f"{requests:6.0f} requests/s, {requests / best_empty:5.2f} of empty ones ({best_empty:.0f}/s); "
            f"processor: {whole_us:.0f} us per task, bare {bare_us:.0f}: {bare_us / whole_us:.2f}",
            flush=True,
        )


def crowd(name: str, database: str, *, seconds: float) -> None:
    """Print the latencies of many concurrent clients, each with tasks of its own."""
    with discovery(database) as (_, url), employed(url) as staff:
        registered = [dict(worker._headers) for worker in staff]  # noqa: SLF001 - the same accounts, other connections
        foremen, crews = [Client(url) for _ in range(CLIENTS)], []
        for foreman in foremen:
            foreman.ask("POST", "/v1/account", {})
            foreman.latencies.clear()
            crews.append([Client(url) for _ in staff])
            for worker, headers in zip(crews[-1], registered, strict=True):
                worker._headers = headers  # noqa: SLF001 - likewise
        end, lives = time.perf_counter() + seconds, [0] * CLIENTS

        def live(number: int) -> None:
            while time.perf_counter() < end:
                lifecycle(foremen[number], crews[number], 1)
                lives[number] += 1

        threads = [threading.Thread(target=live, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        everybody = [*foremen, *(worker for crew in crews for worker in crew)]
        latencies = sorted(latency for client in everybody for latency in client.latencies)
        for client in everybody:
            client.close()
    median, p99 = statistics.median(latencies), latencies[int(len(latencies) * 0.99)]
    print(
        f"{name:10} {CLIENTS} clients: {sum(lives) / seconds:.0f} tasks/s, median {median * 1e3:.1f} ms, "
        f"p99 {p99 * 1e3:.1f} ms: {p99 / median:.1f} times the median",
        flush=True,
    )


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    fields = Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()
    return int(fields[0]) / 1024


def memory(name: str, database: str, *, tasks: int) -> None:
    """Print the service's memory while it processes many tasks."""
    with discovery(database) as (running, url), employed(url) as workers:
        foreman = Client(url)
        foreman.ask("POST", "/v1/account", {})
        samples, batch = [], 500
        for number in range(tasks // batch):
            lifecycle(foreman, workers, batch)
            if (number + 1) % max(1, tasks // batch // SAMPLES) == 0:
                samples.append(f"{resident_mib(running.pid):.0f} at {(number + 1) * batch}")
        foreman.close()
    print(f"{name:10} memory in MiB: {', '.join(samples)} tasks", flush=True)


@contextmanager
def postgres() -> Iterator[Callable[[], str]]:
    """Run the test extra's PostgreSQL server, which syncs as in production; yield a function that makes fresh
    databases."""
    from tests.postgres import PostgresServer

    server = PostgresServer(durable=True)
    try:
        yield server.fresh_url
    finally:
        server.stop()


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.discovery_speed")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each measurement")
    parser.add_argument("--tasks", type=int, default=100_000, help="number of tasks in the memory measurement")
    parser.add_argument("--only", choices=["sqlite", "postgres"])
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, help="numbers of tasks per batch")
    parser.add_argument("--serve-nothing", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve_nothing:
        serve_nothing()
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # runs announced's finally, so that no server is left
    with tempfile.TemporaryDirectory() as folder:

        def file() -> str:
            return f"sqlite:///{folder}/{secrets.token_hex(4)}.sqlite"

        if arguments.only != "postgres":
            run("sqlite", file, arguments)
    if arguments.only != "sqlite":
        with postgres() as fresh:
            run("postgresql", fresh, arguments)


def run(name: str, fresh: Callable[[], str], arguments: argparse.Namespace) -> None:
    """Measure one kind of database."""
    measure(name, fresh, seconds=arguments.seconds, batches=arguments.batches)
    crowd(name, fresh(), seconds=3 * arguments.seconds)
    memory(name, fresh(), tasks=arguments.tasks)


if __name__ == "__main__":
    main()
