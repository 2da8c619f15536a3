"""The embedded system, by command line: with nothing configured and nothing running."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.shell import (
    COUNTS,
    EXAMPLES,
    RHYME,
    WORD_COUNT,
    Shell,
    library_text,
    pairs,
    plain_word_count,
    read_until,
    succeeded,
)  # fmt: skip

SLEEPY = """
    import time
    import ec262

    @ec262.mapper
    def sleep(_key, seconds):
        time.sleep(seconds)
        yield "slept", seconds

    @ec262.reducer
    def add_up(key, values):
        yield key, sum(values)
"""


def test_a_word_count_is_what_a_plain_loop_gives(shell: Shell) -> None:
    files = library_text(1 << 19)
    flags = ("--quiet", "--format", "file", "--output", "counts.jsonl")
    assert succeeded(shell.run("foreman", EXAMPLES / "wordcount.py", *flags, "--input", *files)) == ""
    assert pairs((shell.folder / "counts.jsonl").read_text(encoding="utf-8")) == plain_word_count(files)


def test_a_script_that_runs_two_jobs(shell: Shell) -> None:
    script = shell.file(
        "script.py",
        f"""
        import ec262

        counts = ec262.run_job(
            {dict(enumerate(RHYME))},
            mapper=lambda _key, text: [(word, 1) for word in text.split()],
            reducer=lambda word, ones: [(word, len(ones))],
        )
        print(counts)
        print(ec262.run_job(
            counts,
            mapper=lambda word, count: [(count, word)],
            reducer=lambda count, words: [(count, len(words))],
        ))
        """,
    )
    done = shell.run(script)
    assert done.status == 0
    first, second = map(ast.literal_eval, done.stdout.splitlines())
    assert first == COUNTS
    assert second == {1: 6, 2: 3}


OF_OTHER_ROLES = {
    # Of a discovery service that this machine runs as well.
    "EC262_SEPARATE": "block",
    "EC262_MAX_OPEN_TASKS": "1",
    "EC262_MAX_ESCROW": "1",
    "EC262_API_2012": "1",
    "EC262_RETENTION": "0",
    "EC262_GRANT": "none",
    "EC262_RATE": "0.001",
    "EC262_BURST": "1",
    "EC262_DATABASE": "nothing",
    # Of a worker that lends it.
    "EC262_LISTEN": "192.0.2.1",
    "EC262_ADVERTISE": "192.0.2.1",
    "EC262_OUTPUT_LIMIT_MIB": "1",
    "EC262_RESULTS_LIMIT_MIB": "1",
    "EC262_HOURS": "25-3",
    "EC262_AHEAD": "-1",
    "EC262_LEASE": "soon",
}


def test_settings_of_other_roles_do_not_reach_it(shell: Shell) -> None:
    shell.file(
        "job.py",
        """
        import ec262

        @ec262.mapper
        def mapper(key, _value):
            yield key, "x" * (2 << 20)

        @ec262.reducer
        def reducer(key, values):
            yield key, len(values[0])

        data = {1: 1, 2: 2}
        """,
    )
    done = shell.run("foreman", "job.py", "--quiet", **OF_OTHER_ROLES)
    assert pairs(succeeded(done)) == {1: 2 << 20, 2: 2 << 20}


def test_its_discovery_never_serves_the_api_of_2012(shell: Shell) -> None:
    script = shell.file(
        "script.py",
        """
        import urllib.error, urllib.request
        import ec262
        from ec262.entrypoints.foreman.session import current_session

        ec262.run_job({1: 2}, mapper=lambda key, value: [(key, value)], reducer=lambda key, values: [(key, 1)])
        url, _token = current_session()._systems._systems[0].address()
        for path in "/health", "/workers":
            try:
                print(path, urllib.request.urlopen(url + path).status)
            except urllib.error.HTTPError as refused:
                print(path, refused.code)
        """,
    )
    done = shell.run(script, EC262_API_2012="1")
    assert done.stdout.splitlines() == ["/health 200", "/workers 404"]


@pytest.mark.parametrize("flags", [["-V"], ["--dry-run"], ["--dry-run", "--verify", "quorum:2"]])
def test_a_local_run_does_not_mention_credits(shell: Shell, flags: list[str]) -> None:
    shell.file("job.py", WORD_COUNT + f"\n    data = {dict(enumerate(RHYME))}\n")
    done = shell.run("foreman", "job.py", *flags)
    assert done.status == 0
    assert "map" in done.stdout + done.stderr
    assert not re.search("credit|1000000000", done.stdout + done.stderr)


def test_a_dry_run_of_a_job_without_rows_starts_nothing_and_has_no_price(shell: Shell) -> None:
    shell.file("job.py", WORD_COUNT + "\n    data = {}\n")
    done = shell.run("foreman", "job.py", "--dry-run")
    assert succeeded(done) == "the job has no rows: there is nothing to run\n"


@pytest.mark.parametrize("data", ["rows", "rows()", "Rows()", "map(int, 'x')"])
def test_data_that_raise_show_the_users_own_frames(shell: Shell, data: str) -> None:
    shell.file("beside.py", "def fail():\n    raise KeyError('nothing')\n")
    job = shell.file(
        "job.py",
        WORD_COUNT
        + f"""
    import beside

    def rows():
        yield 1, "a b"
        beside.fail()

    class Rows:
        def __iter__(self):
            return rows()

    data = {data}
    """,
    )
    done = shell.run("foreman", "job.py", "--quiet")
    assert (done.status, done.stdout) == (1, "")
    if data.startswith("map"):
        assert done.stderr.endswith(
            "ValueError: invalid literal for int() with base 10: 'x'\nec262: the data raised ValueError\n"
        )
    else:
        assert f'File "{job}", line 16, in rows\n    beside.fail()\n' in done.stderr
        assert f'File "{shell.folder / "beside.py"}", line 2, in fail\n' in done.stderr
        assert done.stderr.endswith("KeyError: 'nothing'\nec262: the data raised KeyError\n")
    assert "ec262/" not in done.stderr


def test_data_of_a_call_that_raise_show_the_users_own_frames(shell: Shell) -> None:
    job = shell.file(
        "job.py",
        """
        import ec262

        def rows():
            yield 1 / 0

        ec262.run_job(rows, mapper=print, reducer=print)
        """,
    )
    done = shell.run("foreman", "job.py", "--quiet")
    assert (done.status, done.stdout) == (1, "")
    files = [line for line in done.stderr.splitlines() if line.startswith("  File ")]
    assert files == [f'  File "{job}", line 6, in <module>', f'  File "{job}", line 4, in rows']
    assert done.stderr.endswith("ZeroDivisionError: division by zero\nec262: the job file raised ZeroDivisionError\n")


UNPICKLABLE = """
import ec262, threading

lock = threading.Lock()
ec262.run_job({1: 2}, mapper=lambda key, value: [(key, lock.locked())], reducer=lambda key, values: [(key, 1)])
"""


@pytest.mark.parametrize(
    ("text", "status", "told"),
    [
        ("data = {", 2, "does not compile"),
        ("import no_such_module", 1, "No module named 'no_such_module'"),
        ("data = {}", 2, "the job has no mapper"),
        (UNPICKLABLE, 2, "the global 'lock'"),
        ("raise SystemExit(3)", 3, ""),
    ],
)
def test_a_job_that_cannot_begin(shell: Shell, text: str, status: int, told: str) -> None:
    shell.file("job.py", text)
    done = shell.run("foreman", "job.py")
    assert (done.status, done.stdout) == (status, "")
    assert told in done.stderr


def test_no_data_is_no_work(shell: Shell) -> None:
    script = shell.file("script.py", "import ec262\nprint(ec262.run_job({}, mapper=print, reducer=print))\n")
    done = shell.run(script)
    assert (done.status, done.stdout) == (0, "{}\n")


def signal_command(process: subprocess.Popen[str], number: signal.Signals) -> None:
    process.send_signal(number)


def signal_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """As a terminal does when Ctrl-C is typed."""
    os.killpg(process.pid, number)


@pytest.mark.parametrize(
    ("send", "number", "status"),
    [
        (signal_group, signal.SIGINT, 130),
        (signal_command, signal.SIGTERM, 143),
        (signal_command, signal.SIGKILL, -signal.SIGKILL),
    ],
    ids=["Ctrl-C", "SIGTERM", "kill -9"],
)
def test_an_end_in_the_middle_leaves_nothing(
    shell: Shell, send: Callable[[subprocess.Popen[str], signal.Signals], None], number: signal.Signals, status: int
) -> None:
    shell.file("job.py", SLEEPY + "\n    data = {1: 600, 2: 600}\n")
    process = shell.start("foreman", "job.py", "-v", "--output", "out.jsonl")
    read_until(process.stderr, r"accepted \(map")
    send(process, number)
    done = shell.wait(process)
    assert (done.status, done.stdout) == (status, "")
    assert "Traceback" not in done.stderr
    if number != signal.SIGKILL:
        assert "interrupted" in done.stderr
        assert list(shell.folder.glob("*out.jsonl*")) == []


IN_SOME_TASK = """
    import os, signal
    from ec262.services.foreman.workers.worker_link import WorkerLink

    compute = WorkerLink.compute

    async def terminated(self, *arguments, **named):
        WorkerLink.compute = compute
        os.kill(os.getpid(), signal.SIGTERM)
        return await compute(self, *arguments, **named)

    WorkerLink.compute = terminated
"""


@pytest.fixture(params=[signal.default_int_handler, signal.SIG_IGN], ids=["foreground", "background"])
def place(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have commands start where Ctrl-C is for them, or where it is not: the background jobs of scripts ignore it."""
    before = signal.signal(signal.SIGINT, request.param)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("place")
def test_sigterm_at_any_place_is_an_end_in_good_order(shell: Shell) -> None:
    shell.file("job.py", SLEEPY + IN_SOME_TASK + "\n    data = {1: 600, 2: 600}\n")
    done = shell.run("foreman", "job.py", "--quiet")
    assert (done.status, done.stdout, done.stderr) == (143, "", "interrupted\n")


IN_A_LOOP = """
    import asyncio, time
    import ec262

    def sleep(_key, seconds):
        time.sleep(seconds)
        yield "slept", seconds

    async def main():
        ec262.run_job({1: 600}, mapper=sleep, reducer=lambda key, values: [(key, sum(values))])

    asyncio.run(main())
"""


def check_that_it_ends_a_job_in_a_loop(number: int, shell: Shell) -> None:
    shell.file("job.py", IN_A_LOOP)
    process = shell.start("foreman", "job.py", "-v")
    read_until(process.stderr, r"accepted \(map")
    process.send_signal(number)
    done = shell.wait(process)
    assert (done.status, done.stdout) == (128 + number, "")
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("place")
def test_one_sigterm_ends_a_job_that_is_run_inside_an_event_loop(shell: Shell) -> None:
    check_that_it_ends_a_job_in_a_loop(signal.SIGTERM, shell)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("place", [signal.default_int_handler], indirect=True)
def test_one_ctrl_c_ends_a_job_that_is_run_inside_an_event_loop(shell: Shell) -> None:
    check_that_it_ends_a_job_in_a_loop(signal.SIGINT, shell)


@pytest.mark.usefixtures("place")
def test_sigterm_in_code_out_of_a_text_does_not_change_the_exit_status(shell: Shell) -> None:
    shell.file("job.py", 'import os\nexec("os.kill(os.getpid(), 15)\\nwhile True: pass")\n')
    done = shell.run("foreman", "job.py")
    assert (done.status, done.stdout, done.stderr) == (143, "", "interrupted\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_end_at_the_very_beginning_leaves_nothing(shell: Shell, number: signal.Signals) -> None:
    shell.file("job.py", SLEEPY + "\n    data = {1: 600, 2: 600}\n")
    process = shell.start("foreman", "job.py", "-v")
    read_until(process.stderr, ".")
    process.send_signal(number)
    assert shell.wait(process).status == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
