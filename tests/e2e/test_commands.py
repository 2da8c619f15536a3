"""What all commands have in common, as users type them: Ctrl-C at any time, and places that cannot be used."""

from __future__ import annotations

import re
import socket
from contextlib import ExitStack

import pytest

from tests.shell import RHYME, WORD_COUNT, Network, Shell, pairs, read_until, succeeded

NOWHERE = "http://127.0.0.1:1"

INTERRUPTED = """
    import os, runpy, signal, sys

    target, module, *arguments = sys.argv[1:]

    class Interrupt:
        def find_spec(self, name, path=None, before=None):
            if name == target:
                os.kill(os.getpid(), signal.SIGINT)

    sys.meta_path.insert(0, Interrupt())
    sys.argv = [module, *arguments]
    runpy.run_module(f"ec262.entrypoints.{module}", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("imported", "command"),
    [
        ("cloudpickle", "foreman job.py"),
        ("asyncio", "worker --check"),
        ("sqlalchemy", "discovery --port 0"),
        ("sqlalchemy", "discovery_admin accounts"),
        ("requests", f"account status --discovery {NOWHERE}"),
        ("msgspec", "recheck report.json"),
        ("attr", "simulate --tasks 10"),
        ("ec262.entrypoints.account", "cli account status"),
        ("requests", f"cli account status --discovery {NOWHERE}"),
    ],
)
def test_ctrl_c_during_imports_is_no_traceback(shell: Shell, imported: str, command: str) -> None:
    script = shell.file("interrupted.py", INTERRUPTED)
    done = shell.run(script, imported, *command.split())
    assert (done.status, done.stdout, done.stderr) == (130, "", "interrupted\n")


HEAVY = {"attr", "msgspec", "asyncio", "requests", "sqlalchemy", "cryptography", "uvicorn", "starlette", "cloudpickle"}


@pytest.mark.parametrize(
    "module", ["foreman", "worker", "discovery", "discovery_admin", "account", "recheck", "simulate", "cli"]
)
def test_a_command_handles_ctrl_c_before_it_imports_much(shell: Shell, module: str) -> None:
    text = f"import sys, ec262.entrypoints.{module}; print(*sys.modules)"
    assert HEAVY.isdisjoint(succeeded(shell.run("-c", text)).split())


# --- places that cannot be used -------------------------------------------------------------------------------------

TOO_LONG = "n" * 300


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("discovery --port 0", "cannot create /dev/null/.local/share/ec262 for the database: Not a directory; choose "),
        ("discovery_admin accounts", "there is no database /dev/null/.local/share/ec262/discovery.sqlite: name "),
        (f"worker -P 11 --discovery {NOWHERE}", "cannot keep the account's token in /dev/null/.local/state/ec262/"),
        (f"foreman job.py --discovery {NOWHERE}", "cannot keep the account's token in /dev/null/.local/state/ec262/"),
        (f"account status --discovery {NOWHERE}", f"no account at {NOWHERE} is kept in /dev/null/.local/state/ec262"),
        (f"account history --discovery {NOWHERE}", "no account of the role 'foreman' is kept in /dev/null/"),
        (f"account status --discovery {NOWHERE} --credentials {TOO_LONG}", "cannot keep the account's token in "),
        (f"account rotate --discovery {NOWHERE} --credentials {TOO_LONG}", "cannot keep the account's token in "),
        (f"account close --discovery {NOWHERE} --credentials {TOO_LONG}", "cannot keep the account's token in "),
        (f"worker -P 11 --discovery {NOWHERE} --credentials {TOO_LONG}", "cannot keep the account's token in "),
        (f"discovery_admin accounts --database sqlite:///{TOO_LONG}", "cannot read the database "),
        (f"discovery_admin backup --database sqlite:///job.py {TOO_LONG}", "cannot copy job.py to "),
        (f"foreman job.py --output {TOO_LONG}", "cannot write "),
        ("foreman job.py --output circle", "cannot write circle: Too many levels of symbolic links"),
        (f"foreman job.py --report {TOO_LONG}.html", "cannot write the report "),
    ],
)
def test_a_place_that_cannot_be_used_is_reported_in_one_sentence(shell: Shell, command: str, told: str) -> None:
    shell.file("job.py", WORD_COUNT + "\n    data = {1: 'a b'}\n")
    (shell.folder / "circle").symlink_to("circle")
    done = shell.run(*command.split(), HOME="/dev/null")
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr.startswith(f"ec262: {told}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    ["account status", "account history --json", "discovery_admin accounts", "discovery_admin audit --json", "cli"],
)
def test_a_full_disk_is_reported_in_one_sentence(shell: Shell, network: Network, command: str) -> None:
    shell.file("job.py", WORD_COUNT + "\n    data = {1: 'a b'}\n")
    succeeded(shell.run("foreman", "job.py", "--dry-run", "--quiet", "--discovery", network.url))
    place = {"account": ["--discovery", network.url], "discovery_admin": ["--database", network.database]}
    module, *rest = command.split()
    first = [module] if module != "cli" else ["-m", "ec262.entrypoints.cli", "--version"]
    done = shell.run(*first, *rest, *place.get(module, []), redirect="> /dev/full")
    assert (done.status, done.stderr) == (
        1,
        "ec262: cannot write to standard output: No space left on device\n",
    )


def test_a_worker_serves_where_nobody_can_read_that_it_does(shell: Shell, network: Network) -> None:
    worker = shell.start(
        "worker", "-P", 0, "--listen", "127.0.0.1", "--discovery", network.url, "-v", redirect="> /dev/full"
    )
    read_until(worker.stderr, "in the pool as")
    worker.terminate()
    assert shell.wait(worker).status == 0


# --- few open files -------------------------------------------------------------------------------------------------

LIMITED = """
    import resource, runpy, sys

    limit, module, *arguments = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(limit), int(limit)))
    sys.argv = [module, *arguments]
    runpy.run_module(f"ec262.entrypoints.{module}", run_name="__main__", alter_sys=True)
"""


def test_discovery_does_not_start_with_too_few_open_files(shell: Shell) -> None:
    done = shell.run(shell.file("limited.py", LIMITED), 64, "discovery", "--port", 0)
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr == (
        "ec262: this process may open 64 files, but discovery needs at least 128: raise the limit (ulimit -n, or "
        "LimitNOFILE= of systemd)\n"
    )


def test_more_connections_than_open_files_are_no_traceback(shell: Shell) -> None:
    script = shell.file("limited.py", LIMITED)
    discovery = shell.start(script, 128, "discovery", "--port", 0, "--database", "sqlite:///d.sqlite", log="log")
    assert discovery.stdout is not None
    told = re.search(r"listens on http://127\.0\.0\.1:(\d+);", discovery.stdout.readline())
    assert told is not None
    with ExitStack() as stack:
        crowd = [stack.enter_context(socket.create_connection(("127.0.0.1", int(told[1])))) for _ in range(130)]
        for connection in crowd:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        answers = [connection.recv(12) for connection in crowd]
    assert {b"HTTP/1.1 200", b"HTTP/1.1 503"} == set(filter(None, answers))
    discovery.terminate()
    assert shell.wait(discovery).status == 0
    log = (shell.folder / "log").read_text()
    assert "is lowered to 22: the limit on open files is 128" in log
    assert "Traceback" not in log


def test_a_local_job_runs_with_few_open_files(shell: Shell) -> None:
    shell.file("job.py", WORD_COUNT + f"\n    data = {dict(enumerate(RHYME))}\n")
    done = shell.run(shell.file("limited.py", LIMITED), 64, "foreman", "job.py", "--quiet")
    assert pairs(succeeded(done))["Humpty"] == 2
