"""The control: hostile jobs without a sandbox, each in a process of its own that may come to harm.

    python -m tests.unconfined

Prints, for each payload, what harm it did, as JSON. Run by root, the jobs run as nobody.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from ec262.adapters.sandbox.in_process import UnconfinedSandbox
from ec262.domain.work.outcome import decode_outcome
from ec262.domain.work.work import Computed, Limits
from tests.canaries import NOBODY, Scene
from tests.hostile_jobs import PAYLOADS
from tests.hostile_jobs.reach import Act
from tests.sandbox_jobs import count_words, map_work, pairs_of

HONEST = "an honest job"
PATIENCE_S = 0.25
HONEST_PATIENCE_S = 30
QUOTA_BYTES = 128 << 20
OUTPUT_BYTES = 1 << 20
MAX_BYTES = 2 << 30
PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 4, 36

libc = ctypes.CDLL(None)


def warm_up() -> None:
    """Load what jobs will want: nobody may not be able to read where it is."""
    for name in (
        "multiprocessing.connection",
        "multiprocessing.popen_fork",
        "socket",
        "subprocess",
        "zipfile",
        "fcntl",
        "threading",
        "encodings.idna",
    ):
        importlib.import_module(name)


def drive(task: Coroutine[Any, Any, Computed]) -> Computed:
    """Run what waits for nothing."""
    try:
        task.send(None)
    except StopIteration as done:
        result: Computed = done.value
        return result
    raise AssertionError("it waits")


def compute(act: Act, scene: Scene, report: int) -> None:
    """Run a payload, then an honest job in the same process; write down what came of both."""
    work = map_work(act, [("row", scene.target(zygote=os.getppid()) if act is not count_words else "a b")])
    honest = map_work(count_words, [(1, "b a")])
    resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES,) * 2)
    with suppress(Exception):
        computed = drive(UnconfinedSandbox().run(work, Limits(log_bytes=1 << 14)))
        os.write(report, json.dumps({"output": len(computed.outcome)}).encode() + b"\n")
        told = str(computed.log) + str(decode_outcome(computed.outcome))
        os.write(report, json.dumps({"told": told[:5000]}).encode() + b"\n")
    served = pairs_of(drive(UnconfinedSandbox().run(honest, Limits()))) == [("a", 1), ("b", 1)]
    os.write(report, json.dumps({"served": served}).encode() + b"\n")


def stand_in(act: Act, scene: Scene, report: int) -> None:
    """Be what a zygote is to a job: its parent, of the same user. Write down what it used."""
    os.setsid()
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    pid = os.fork()
    if pid == 0:
        try:
            compute(act, scene, report)
        finally:
            os._exit(1)
    _, _, usage = os.wait4(pid, 0)
    os.write(report, json.dumps({"bytes": usage.ru_maxrss << 10}).encode() + b"\n")


def read_all(report: int, patience_s: float) -> dict[str, Any]:
    """Read what is written down until all is, or time is up."""
    data, deadline = b"", time.monotonic() + patience_s
    while b'"bytes"' not in data:
        if not select.select([report], [], [], max(0, deadline - time.monotonic()))[0]:
            break
        chunk = os.read(report, 1 << 16)
        if not chunk:
            break
        data += chunk
    return {name: value for line in data.splitlines() for name, value in json.loads(line).items()}


def end_all_but(kept: int) -> int:
    """Kill all that was started, wherever it has gone to; return how many there were."""
    count = 0
    while True:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        others = [int(child) for child in children if int(child) != kept]
        if not others:
            return count
        for pid in others:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            count += os.waitpid(pid, 0)[1] == signal.SIGKILL


def control(act: Act) -> list[str]:
    """Run a payload; return what harm it did."""
    scene = Scene()
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            stand_in(act, scene, writer)
        finally:
            os._exit(0)
    os.close(writer)
    found = read_all(reader, HONEST_PATIENCE_S if act is count_words else PATIENCE_S)
    os.close(reader)
    time.sleep(0.005)  # a signal takes a moment
    harm = scene.harm(found.get("told", ""))
    if not found.get("served"):
        harm.append("its process was lost, or gave no right answer any more, or not in time")
    elif "bytes" not in found:
        harm.append("its parent was lost")
    if found.get("output", 0) > OUTPUT_BYTES:
        harm.append("it returned too much")
    if found.get("bytes", 0) > QUOTA_BYTES:
        harm.append("it took too much memory")
    if end_all_but(scene.victim.pid) > (0 if "bytes" in found else 2):
        harm.append("processes were left")
    scene.close()
    return harm


if __name__ == "__main__":
    warm_up()
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    chosen = sys.argv[1:] or [name for name, payload in PAYLOADS.items() if not payload.never]
    print(json.dumps({HONEST: control(count_words)} | {name: control(PAYLOADS[name].act) for name in chosen}))
