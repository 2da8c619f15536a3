"""A user at a terminal, who types ec262's commands, and a system of separately started processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import attrs

COMMANDS = {"foreman", "worker", "discovery", "discovery_admin", "account"}
COMMAND_S = 60.0
"""For any command of these tests, on a busy machine."""


@attrs.frozen(kw_only=True)
class Done:
    """What a command left on the screen."""

    status: int
    stdout: str
    stderr: str


Foreman = Callable[..., Done]
"""Runs the foreman's command with these arguments."""


class Shell:
    """Runs commands as a user with an empty home, no settings, and a folder of its own for temporary files."""

    def __init__(self, folder: Path, *, command_s: float = COMMAND_S) -> None:
        self.folder = folder / "work"
        self.temporary = folder / "tmp"
        self.started: list[subprocess.Popen[str]] = []
        self._command_s = command_s
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "TMPDIR": str(self.temporary),
            "PYTHONFAULTHANDLER": "1",
        }
        for path in (self.folder, self.temporary, folder / "home"):
            path.mkdir()

    def file(self, name: str, text: str) -> Path:
        """Write a file of the user's."""
        path = self.folder / name
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return path

    def start(self, *command: object, log: str = "", redirect: str = "", **environment: str) -> subprocess.Popen[str]:
        """Start Python with a command line, or one of ec262's commands by name; ``log`` is a file for standard error,
        ``redirect`` what a user may type behind the command, such as ``> /dev/full``.

        It is the first of a process group, as a command at a terminal is.
        """
        first, *rest = map(str, command)
        line = ["-m", f"ec262.entrypoints.{first}"] if first in COMMANDS else [first]
        typed = [sys.executable, *line, *rest]
        with (self.folder / (log or os.devnull)).open("a") as error:
            process = subprocess.Popen(
                ["/bin/sh", "-c", f'exec "$@" {redirect}', "sh", *typed] if redirect else typed,
                cwd=self.folder,
                env=self._environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=error if log else subprocess.PIPE,
                text=True,
                process_group=0,
            )
        self.started.append(process)
        return process

    def wait(self, process: subprocess.Popen[str]) -> Done:
        """Wait for a command's end. One that hangs is aborted, and the error tells where it was."""
        try:
            stdout, stderr = process.communicate(timeout=self._command_s)
        except subprocess.TimeoutExpired as error:
            process.send_signal(signal.SIGABRT)
            _, stderr = process.communicate()
            raise AssertionError(f"{process.args!r} does not end:\n{stderr}") from error
        return Done(status=process.returncode, stdout=stdout, stderr=stderr or "")

    def run(self, *command: object, redirect: str = "", **environment: str) -> Done:
        """Run a command to its end."""
        return self.wait(self.start(*command, redirect=redirect, **environment))

    def left(self) -> list[str]:
        """Temporary files."""
        return [str(path.relative_to(self.temporary)) for path in self.temporary.rglob("*")]

    def close(self) -> None:
        """End whatever still runs."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()


class Network:
    """Discovery and workers, each started by its own command line."""

    def __init__(self, shell: Shell, *, grant: int, database: str = "", **environment: str) -> None:
        self.shell = shell
        self.workers: list[subprocess.Popen[str]] = []
        self._environment = environment
        self.database = database or f"sqlite:///{shell.folder / 'discovery.sqlite'}"
        self._grant = grant
        self.url, self._port = "", 0  # a free one
        self.discovery = self.start_discovery()

    def start_discovery(self) -> subprocess.Popen[str]:
        """Start discovery, on the same port and the same database as before; wait until it listens."""
        flags = ("--port", self._port, "--database", self.database, "--grant", self._grant)
        self.discovery = self.shell.start("discovery", *flags, log="discovery.log", **self._environment)
        match = re.search(r"listens on (http://127\.0\.0\.1:(\d+));", line_of(self.discovery))
        assert match
        assert self.url in {"", match[1]}
        self.url, self._port = match[1], int(match[2])
        return self.discovery

    def start_worker(self, *flags: object) -> subprocess.Popen[str]:
        """Start a worker; does not wait for it."""
        given = ("-P", 0, "--listen", "127.0.0.1", "--discovery", self.url, "-v", *flags)
        worker = self.shell.start("worker", *given, log="workers.log", **self._environment)
        self.workers.append(worker)
        return worker

    def start_workers(self, count: int) -> None:
        """Start workers, and wait until they are in the pool."""
        started = [self.start_worker() for _ in range(count)]
        for worker in started:
            assert re.search(rf"serves at 127\.0\.0\.1:\d+, registered with {self.url}$", line_of(worker))

    def kill_discovery(self) -> None:
        """End discovery as a power failure would."""
        self.discovery.kill()
        self.discovery.wait()

    def log(self) -> str:
        """What the workers have told so far."""
        return (self.shell.folder / "workers.log").read_text(encoding="utf-8")

    def end(self, number: signal.Signals) -> list[int]:
        """Send all a signal; return their exit statuses, discovery's last."""
        for process in (*self.workers, self.discovery):
            process.send_signal(number)
            process.wait(COMMAND_S)
        return [process.returncode for process in (*self.workers, self.discovery)]


def line_of(process: subprocess.Popen[str]) -> str:
    """Wait for the next line of a command's output."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def read_until(stream: IO[str] | None, pattern: str) -> str:
    """Read a command's lines until one has this in it; return that one."""
    assert stream is not None
    lines = []
    for line in stream:
        lines.append(line)
        if re.search(pattern, line):
            return line
    raise AssertionError(f"no {pattern!r} in: {''.join(lines)}")


# --- what users have ------------------------------------------------------------------------------------------------

EXAMPLES = Path(__file__).parents[1] / "examples"

WORD_COUNT = """
    import ec262

    @ec262.mapper
    def split(_key, text):
        for word in text.split():
            yield word, 1

    @ec262.reducer
    def add_up(word, counts):
        yield word, sum(counts)
"""

RHYME = ["Humpty Dumpty sat on a wall", "Humpty Dumpty had a great fall"]
COUNTS = Counter(" ".join(RHYME).split())


def library_text(size: int) -> list[Path]:
    """Some of the standard library's sources: real text of about so many bytes."""
    files, found = [], 0
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        if found < size:
            files.append(file)
            found += file.stat().st_size
    assert found >= size
    return files


def plain_word_count(files: list[Path]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for file in files:
        counts.update(re.findall(r"[^\W\d_]+", file.read_text(encoding="utf-8").lower()))
    return counts


def pairs(text: str) -> dict[Any, Any]:
    """Read JSON lines of [key, value] whose keys are plain."""
    return dict(map(json.loads, text.splitlines()))


def succeeded(done: Done) -> str:
    assert (done.status, done.stderr) == (0, "")
    return done.stdout
