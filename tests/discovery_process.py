"""The discovery service as a process of its own, by its command."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs


@attrs.frozen
class RunningDiscovery:
    """A service; what it logs is in ``log``, its database in ``discovery.sqlite``, both in ``folder``."""

    process: subprocess.Popen[str]
    folder: Path
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def database(self) -> str:
        return database_of(self.folder)

    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8")


def database_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'discovery.sqlite'}"


@contextmanager
def running_discovery(folder: Path, *flags: str, first: tuple[str, ...] = ()) -> Iterator[RunningDiscovery]:
    """Start the service on a free port; kill it afterwards, if it still runs. ``first`` is what Python is to run in
    place of the command's module."""
    command = [sys.executable, *(first or ("-m", "ec262.entrypoints.discovery")), "--port", "0"]
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(
            [*command, "--database", database_of(folder), *flags], stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    try:
        match = re.search(r"listens on (https?://127\.0\.0\.1:\d+);", process.stdout.readline())
        assert match, (folder / "log").read_text()
        yield RunningDiscovery(process, folder, match[1])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
