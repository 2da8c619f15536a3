"""Where mutants live and die: copies of the tree, in each of which one rule at a time is broken and tested."""

from __future__ import annotations

import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.mutation.mutant import Mutant

NOT_COPIED = shutil.ignore_patterns(".*")
"""Environments, caches, and what belongs to git."""

TIME_LIMIT_S = 300
PASSED, FAILED = 0, 1
"""Exit codes of pytest; all others mean that the tests could not be run."""


class NoVerdict(Exception):
    """A mutant, or the tree itself, cannot be judged; the text says why."""


@attrs.frozen
class Fate:
    """What came of a mutant: ``killer`` is the test that failed, empty if none did."""

    mutant: Mutant
    killer: str


def check(mutant: Mutant, tree: Path) -> str:
    """Return the mutated file. Raises NoVerdict unless the old text stands in it exactly once, and the new differs."""
    try:
        text = (tree / mutant.file).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NoVerdict(f"{mutant.rule}: there is no file {mutant.file}") from None
    count = text.count(mutant.old)
    if count != 1:
        raise NoVerdict(f"{mutant.rule}: the old text stands {count} times in {mutant.file}, not once")
    if mutant.new == mutant.old:
        raise NoVerdict(f"{mutant.rule}: nothing is changed")
    return text.replace(mutant.old, mutant.new)


def named_tests(mutants: Sequence[Mutant]) -> list[str]:
    """Return the tests that mutants name, each once."""
    return sorted({word for mutant in mutants for word in mutant.tests.split() if word.startswith("tests/")})


class Laboratory:
    """Copies of a tree, as many as there are ``jobs``."""

    def __init__(self, tree: Path, *, jobs: int) -> None:
        self._tree = tree
        self._jobs = jobs

    def judge(self, mutants: Sequence[Mutant]) -> Iterator[Fate]:
        """Try all mutants; yield their fates in their order, as soon as they are known. Raises NoVerdict, first of all
        if the named tests fail without any mutant."""
        for mutant in mutants:
            check(mutant, self._tree)
        with tempfile.TemporaryDirectory(prefix="ec262-mutants-") as folder:
            cages: queue.Queue[Path] = queue.Queue()
            for number in range(self._jobs):
                cage = Path(folder) / str(number)
                shutil.copytree(self._tree, cage, ignore=NOT_COPIED)
                cages.put(cage)

            def fate(mutant: Mutant) -> Fate:
                cage = cages.get()
                try:
                    return Fate(mutant, _killer(mutant, cage))
                finally:
                    cages.put(cage)

            _check_healthy(Path(folder) / "0", mutants)
            with ThreadPoolExecutor(self._jobs) as threads:
                try:
                    yield from threads.map(fate, mutants)
                finally:
                    threads.shutdown(cancel_futures=True)


def _check_healthy(cage: Path, mutants: Sequence[Mutant]) -> None:
    imported = _run(cage, "-c", "import ec262; print(ec262.__file__)").stdout.strip()
    if not Path(imported).is_relative_to(cage.resolve()):
        raise NoVerdict(f"the copy is not what is imported, but {imported}")
    tests = named_tests(mutants)
    healthy = _run(cage, *_pytest(), *tests)
    if tests and healthy.returncode != PASSED:
        raise NoVerdict(f"without any mutant the tests do not pass:\n{healthy.stdout}{healthy.stderr}")


def _killer(mutant: Mutant, cage: Path) -> str:
    with _mutated(mutant, cage):
        try:
            tested = _run(cage, *_pytest(), "-x", *mutant.tests.split())
        except subprocess.TimeoutExpired:
            return f"{TIME_LIMIT_S} s without an end"
    if tested.returncode == PASSED:
        return ""
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", tested.stdout, re.MULTILINE)
    if tested.returncode != FAILED or failed is None:
        raise NoVerdict(f"{mutant.rule}: the tests cannot be run:\n{tested.stdout}{tested.stderr}")
    return failed[1]


@contextmanager
def _mutated(mutant: Mutant, cage: Path) -> Iterator[None]:
    """Break the rule, and mend it. Times are mended, too: they tell Python which compiled modules are good."""
    file = cage / mutant.file
    healthy, times = file.read_bytes(), file.stat()
    file.write_text(check(mutant, cage), encoding="utf-8")
    try:
        yield
    finally:
        file.write_bytes(healthy)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def _pytest() -> list[str]:
    # Plugins that take longer to import than most of these tests to run.
    without = [f"-pno:{plugin}" for plugin in ("cacheprovider", "cov", "schemathesis")]
    return ["-m", "pytest", "-q", "-n0", "-rfE", "--tb=line", "--timeout=60", *without]


def _run(cage: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    given = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    environment = {**given, "PYTHONPATH": str(cage / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cage,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )
