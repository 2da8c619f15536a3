"""Jobs larger than the foreman's memory: word count, and a grouping whose intermediate data is four times the budget.

    python -m benchmarks.bigger_than_memory [--quick] [--only count|group] [--verify RULE]

Run it from the project's root. Each job also runs over a small part of the same text, and the ratio of processor
seconds per MiB shows the cost of more data. Prints the largest resident set of the foreman, and that of the largest
process of the embedded system (workers, and the tasks that they compute). The exit status is 1 if an answer is wrong,
or if the foreman took more than its budget and ``ROOM_MIB``.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from tests.processes import family
from tests.shell import pairs

ROOM_MIB = 100
"""What the foreman may take beyond its budget, for the interpreter and for data in transit."""

SAMPLE_S = 0.1
BLOCK_BYTES = 8 << 20
LINE_WORDS = 12
WORDS = 40_000

COUNT = """
import ec262

@ec262.mapper
def split(_place, line):
    for word in line.split():
        yield word, 1

@ec262.combiner
@ec262.reducer
def add_up(word, counts):
    yield word, sum(counts)
"""

GROUP = """
import zlib
import ec262

@ec262.mapper
def by_first_word(_place, line):
    yield line.partition(" ")[0], line

@ec262.reducer
def digest(word, lines):
    checksum = 0
    for line in lines:
        checksum = zlib.crc32(line.encode(), checksum)
    yield word, [len(lines), checksum]
"""


def blocks(count: int) -> Iterator[str]:
    """Yield texts of about ``BLOCK_BYTES``: all different, and the same in every run."""
    chance = random.Random(1)  # noqa: S311 - no secret
    words = [f"{chance.getrandbits(30):x}"[: 3 + number % 6] for number in range(WORDS)]
    for _ in range(count):
        lines = []
        size = 0
        while size < BLOCK_BYTES:
            lines.append(" ".join(chance.choices(words, k=LINE_WORDS)))
            size += len(lines[-1]) + 1
        yield "\n".join(lines) + "\n"


def counted(texts: Iterable[str]) -> dict[str, Any]:
    """Return the expected word count."""
    counts: defaultdict[str, int] = defaultdict(int)
    for text in texts:
        for line in text.splitlines():
            for word in line.split():
                counts[word] += 1
    return counts


def grouped(texts: Iterable[str]) -> dict[str, Any]:
    """Return the expected grouping."""
    digests: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for text in texts:
        for line in text.splitlines():
            digest = digests[line.partition(" ")[0]]
            digest[0] += 1
            digest[1] = zlib.crc32(line.encode(), digest[1])
    return digests


@attrs.frozen
class Job:
    """A job, its expected result, and the numbers of blocks over which it runs."""

    name: str
    code: str
    expected: Callable[[Iterable[str]], dict[str, Any]]
    small: int
    large: int


@attrs.frozen
class Measured:
    """What a run took."""

    seconds: float
    cpu_s: float
    foreman_mib: float
    others_mib: float


def resident_mib(pid: int) -> float:
    """Return the largest resident set that a process has had, in MiB; 0 if it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def measured(command: list[object]) -> Measured:
    """Run a command to its end, and measure it."""
    began, cpu_before_s = time.perf_counter(), _cpu_of_children_s()
    process = subprocess.Popen(list(map(str, command)))
    foreman_mib = others_mib = 0.0
    try:
        while process.poll() is None:
            foreman, *others = family(process.pid)
            foreman_mib = max(foreman_mib, resident_mib(foreman))
            others_mib = max(others_mib, *map(resident_mib, others), 0.0, 0.0)
            time.sleep(SAMPLE_S)
    finally:
        process.terminate()
        process.wait()
    if process.returncode != 0:
        raise SystemExit(f"the job failed with status {process.returncode}")
    return Measured(time.perf_counter() - began, _cpu_of_children_s() - cpu_before_s, foreman_mib, others_mib)


def _cpu_of_children_s() -> float:
    """Return the processor time of all processes that have ended: steadier than wall time on a busy machine."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run(job: Job, count: int, budget_mb: int, verify: str, folder: Path) -> tuple[float, bool]:
    """Run a job over ``count`` blocks; return its processor seconds per MiB, and whether the result and the memory use
    are right."""
    source, data, output = folder / "job.py", folder / "data.txt", folder / "result.jsonl"
    source.write_text(job.code)
    with data.open("w") as file:
        file.writelines(blocks(count))
    size_mib = data.stat().st_size / 2**20
    began = time.perf_counter()
    expected = job.expected(blocks(count))
    plain_s = time.perf_counter() - began
    command = [sys.executable, "-m", "ec262.entrypoints.foreman", source, "--quiet", "--verify", verify]
    took = measured([*command, "--memory", f"{budget_mb}MB", "--input", data, "--output", output])
    right = pairs(output.read_text()) == expected
    fits = took.foreman_mib <= budget_mb * 10**6 / 2**20 + ROOM_MIB
    print(
        f"{job.name}, {size_mib:.0f} MiB, budget {budget_mb} MB: {took.seconds:.1f} s "
        f"({1000 * took.seconds / size_mib:.0f} ms/MiB, processors {1000 * took.cpu_s / size_mib:.0f}; "
        f"generating and plain loop {plain_s:.1f} s), "
        f"foreman {took.foreman_mib:.0f} MiB{'' if fits else ': TOO MUCH'}, "
        f"largest other process {took.others_mib:.0f} MiB{'' if right else ', WRONG RESULT'}",
        flush=True,
    )
    return took.cpu_s / size_mib, right and fits


def main() -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description="Jobs larger than the foreman's memory.")
    parser.add_argument("--quick", action="store_true", help="a thirty-second of the data, an eighth of the memory")
    parser.add_argument("--only", choices=("count", "group"))
    parser.add_argument("--verify", default="majority:3", help="verification rule: majority:1 computes everything once")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # runs the finally above, so that no foreman is left
    budget_mb = 32 if arguments.quick else 256
    group_blocks = 4 * budget_mb * 10**6 // BLOCK_BYTES + 1
    jobs = [
        Job("count", COUNT, counted, 2 if arguments.quick else 8, 8 if arguments.quick else 256),
        Job("group", GROUP, grouped, 2 if arguments.quick else 8, group_blocks),
    ]
    fine = True
    with tempfile.TemporaryDirectory(prefix="ec262-benchmark-", dir="/var/tmp") as folder:
        for job in jobs:
            if arguments.only in {None, job.name}:
                small, small_fine = run(job, job.small, budget_mb, arguments.verify, Path(folder))
                large, large_fine = run(job, job.large, budget_mb, arguments.verify, Path(folder))
                print(
                    f"{job.name}: per MiB, the large run costs {large / small:.2f} times as much as the small one",
                    flush=True,
                )
                fine &= small_fine and large_fine
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
