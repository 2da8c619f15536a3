"""Workers with the portable sandbox, alone and beside native ones, as users start them."""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3
from collections import Counter, defaultdict
from pathlib import Path

import platformdirs
import pytest

from ec262.adapters.sandbox.wasm.wasm_sandbox import WasmSandbox
from tests.portable import needs_guest
from tests.shell import EXAMPLES, Network, Shell, line_of, pairs, succeeded

pytestmark = needs_guest

POEM = (
    "Humpty Dumpty sat on a wall Humpty Dumpty had a great fall All the King's horses and all the King's men "
    "Couldn't put Humpty together again"
)
SQUARES = """
    import ec262, sys

    @ec262.mapper
    def where(key, number):
        yield sys.platform == "wasi", number * number

    @ec262.reducer
    def add_up(is_guest, squares):
        yield is_guest, sorted(squares)

    data = {number: number for number in range(9)}
"""


@pytest.fixture(scope="module")
def cache() -> str:
    """Where guests are kept: prepared once for all these workers."""

    async def prepare() -> None:
        box = WasmSandbox()
        await box.start()
        await box.close()

    asyncio.run(prepare())
    return str(Path(platformdirs.user_cache_dir("ec262")).parent)


def start_workers(network: Network, count: int, *flags: object) -> None:
    started = [network.start_worker("--slots", 1, *flags) for _ in range(count)]
    for worker in started:
        assert "serves at" in line_of(worker)


def test_three_portable_workers_run_the_first_example(shell: Shell, cache: str) -> None:
    network = Network(shell, grant=12, XDG_CACHE_HOME=cache)
    start_workers(network, 3, "--sandbox", "wasm")
    done = shell.run("foreman", EXAMPLES / "humpty_dumpty.py", "--quiet", "--discovery", network.url)
    counts = [line.split() for line in succeeded(done).splitlines()]
    assert {word: int(count) for count, word in counts} == Counter(POEM.split())
    assert network.end(signal.SIGTERM) == [0] * 4
    assert " ERROR " not in network.log()


def test_a_worker_can_be_stopped_where_the_event_loop_knows_no_signals(shell: Shell, cache: str) -> None:
    network = Network(shell, grant=12, XDG_CACHE_HOME=cache)
    shell.file(
        "windows.py",
        """
        import asyncio
        import sys
        from ec262.entrypoints.worker.__main__ import main

        def add_signal_handler(*_):
            raise NotImplementedError

        asyncio.SelectorEventLoop.add_signal_handler = add_signal_handler
        sys.exit(main(sys.argv[1:]))
        """,
    )
    flags = ("-P", 0, "--listen", "127.0.0.1", "--discovery", network.url, "--sandbox", "wasm")
    worker = shell.start("windows.py", *flags, XDG_CACHE_HOME=cache)
    assert "serves at" in line_of(worker)
    worker.send_signal(signal.SIGTERM)
    assert shell.wait(worker).status == 0
    assert network.end(signal.SIGTERM) == [0]


def test_replicas_of_one_task_never_mix_portable_and_native_workers(shell: Shell, cache: str) -> None:
    network = Network(shell, grant=100, XDG_CACHE_HOME=cache)
    start_workers(network, 3, "--sandbox", "wasm")
    start_workers(network, 3)
    job = shell.file("job.py", SQUARES)
    flags = ("--quiet", "--discovery", network.url)
    sums = pairs(succeeded(shell.run("foreman", job, *flags)))
    assert sorted(sums[True] + sums[False]) == [number * number for number in range(9)]
    with sqlite3.connect(shell.folder / "discovery.sqlite") as database:
        rows = database.execute("SELECT task, m.runtime FROM replicas JOIN members m USING (worker)").fetchall()
    database.close()
    classes: dict[str, set[str]] = defaultdict(set)
    for task, runtime in rows:
        classes[task].add(runtime)
    assert all(len(runtimes) == 1 for runtimes in classes.values())
    assert {machine for _, runtime in rows for machine in re.findall("wasm32|x86_64|aarch64", runtime)} > {"wasm32"}
    assert network.end(signal.SIGTERM) == [0] * 7
