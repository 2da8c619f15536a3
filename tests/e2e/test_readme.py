"""The README's commands for several machines, typed on one."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.shell import Shell, line_of, succeeded

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("line", [line for block in BLOCKS for line in block.splitlines()])
def test_commands_name_the_environment_that_was_made(line: str) -> None:
    for command in line.split(" && "):
        assert command.startswith((".venv/bin/", "python3 -m venv .venv"))


def test_the_commands_for_several_machines_run_job_after_job(shell: Shell) -> None:
    typed = README.partition("\n## Several machines\n")[2]
    lines = re.findall(r"^\.venv/bin/ec262 (.*?) *#", typed, flags=re.MULTILINE)
    discovery, worker, foreman = (shlex.split(line, comments=True) for line in lines)
    # On one machine: loopback, and ports that are free.
    place = ["--host", "127.0.0.1", "--port", "0", "--database", "sqlite:///discovery.sqlite"]
    service = shell.start("-m", "ec262.entrypoints.cli", *discovery, *place, log="log")
    told = re.search(r"listens on (http://127\.0\.0\.1:\d+);", line_of(service))
    assert told is not None
    workers = [
        shell.start(
            "-m", "ec262.entrypoints.cli", *with_url(worker, told[1]), "--listen", "127.0.0.1", "-P", 0, log="log"
        )
        for _ in range(3)
    ]
    for each in workers:
        assert "serves at 127.0.0.1" in line_of(each)
    (shell.folder / "examples").symlink_to(ROOT / "examples")
    for _ in range(2):
        done = shell.run("-m", "ec262.entrypoints.cli", *with_url(foreman, told[1]), "--quiet")
        assert len(succeeded(done).splitlines()) > 1000
    for process in (*workers, service):
        process.terminate()
        assert shell.wait(process).status == 0


def with_url(command: list[str], url: str) -> list[str]:
    assert "http://HOST:26262" in command
    return [url if word == "http://HOST:26262" else word for word in command]
