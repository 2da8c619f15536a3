"""Word count over 32 MB of real text: a plain loop, the embedded system, and separately started processes.

    python -m benchmarks.large_wordcount [MEGABYTES]

Run it from the project's root. Prints the seconds that each takes; the exit status is 1 if any count differs.
"""

from __future__ import annotations

import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from tests.shell import EXAMPLES, Network, Shell, pairs, plain_word_count, succeeded

MEGABYTES = 32
WORKERS = 4


def library_files() -> list[Path]:
    """Return the modules of the standard library."""
    library = Path(sysconfig.get_path("stdlib"))
    apart = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3"}
    return [file for file in sorted(library.rglob("*.py")) if not apart & set(file.parts)]


def variations() -> Iterator[str]:
    """Yield the modules' texts again and again, each time without some of the lines, and with a word of their own."""
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in library_files()]
    for copy in count(2):
        for text in texts:
            lines = [line for number, line in enumerate(text.splitlines()) if number % copy]
            yield "\n".join([*lines, "copy" + "i" * copy])


def write_files(folder: Path, size_bytes: int) -> list[Path]:
    """Write files of ``size_bytes`` in total."""
    files: list[Path] = []
    written = 0
    for number, text in enumerate(variations()):
        if written >= size_bytes:
            return files
        file = folder / f"{number:05}.txt"
        written += file.write_bytes(text.encode())
        files.append(file)
    raise AssertionError


def runs_right(name: str, expected: Counter[str], plain_s: float, shell: Shell, job: list[object]) -> bool:
    """Run the job, print its time, and return whether its result equals the plain loop's."""
    output = shell.folder / "counts.jsonl"
    began = time.perf_counter()
    succeeded(shell.run("foreman", EXAMPLES / "wordcount.py", "--quiet", "--output", output, *job))
    seconds = time.perf_counter() - began
    right = pairs(output.read_text(encoding="utf-8")) == expected
    print(
        f"{name}: {seconds:.2f} s, {seconds / plain_s:.1f} times the plain loop{'' if right else ': WRONG'}", flush=True
    )
    return right


def main() -> int:
    """Run the benchmark; return the exit status."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else MEGABYTES
    with tempfile.TemporaryDirectory(prefix="ec262-benchmark-") as folder:
        shell = Shell(Path(folder), command_s=3600)
        files = write_files(shell.folder, megabytes << 20)
        began = time.perf_counter()
        expected = plain_word_count(files)
        plain_s = time.perf_counter() - began
        print(f"{megabytes} MiB in {len(files)} files, {expected.total():,} words, {len(expected):,} distinct")
        print(f"plain loop: {plain_s:.2f} s", flush=True)
        job = ["--format", "file", "--input", *files]
        try:
            right = [runs_right("embedded", expected, plain_s, shell, job)]
            network = Network(shell, grant=1_000_000)
            network.start_workers(WORKERS)
            job = ["--discovery", network.url, *job]
            right.append(runs_right("separate processes", expected, plain_s, shell, job))
        finally:
            shell.close()
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
