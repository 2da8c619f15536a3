"""What volunteers and authors look at before they begin: ``worker --check``, ``foreman --check-determinism``."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest

from tests.shell import RHYME, WORD_COUNT, Network, Shell, line_of, pairs, read_until, succeeded

JOB = WORD_COUNT + f"\n    data = {dict(enumerate(RHYME))}\n"


def numbers(mapper: str) -> str:
    """A job over the numbers to 300."""
    return f"""
        import ec262, os, random, time

        @ec262.mapper
        def mapper(key, number):
            {mapper}

        @ec262.reducer
        def reducer(key, values):
            yield key, sorted(values)

        data = {{f"row {{number}}": number for number in range(300)}}
    """


# --- ec262 worker --check -------------------------------------------------------------------------------------------


def test_a_worker_tells_what_it_lends_and_that_it_holds(shell: Shell) -> None:
    flags = ("--slots", 3, "--memory-limit", 77, "--cpu-limit", 7.5, "--wall-limit", 8.5, "--output-limit", 9)
    more = ("--results-limit", 99, "--nice", 19, "--lease", 33, "--hours", "0-24", "22:30-6", "--allow", "cloudpickle")
    done = shell.run("worker", "--check", *flags, *more)
    assert (done.status, done.stderr) == (0, "")
    for told in (
        r"slots +3 tasks at a time, on [\d.]+ processors",
        r"memory +77 MiB per task, at most 231 of the \d+ MiB available\n",
        r"processor time +7\.5 s",
        r"wall time +8\.5 s",
        r"output +9 MiB per task, and 64 KiB of log",
        r"waiting results +99 MiB",
        r"niceness +19",
        r"lease +33 s",
        r"hours +00:00-24:00, 22:30-06:00, local time",
        r"now +available",
        r"sandbox: linux, (all layers|without )",
        r"seccomp +in force",
        r"rlimits +in force",
        r"fork a process +refused",
        r"look at a file +refused",
        r"open a socket +refused",
        r"signal another process +refused",
        r"cloudpickle +can be imported, version \d",
        r"counts words +correct, in \d+ ms\nthis machine can serve\n$",
    ):
        assert re.search(told, done.stdout), told
    assert not re.search(r"(?m)^  .* (allowed|nothing)$", done.stdout)


def test_a_worker_that_could_not_serve_says_what_is_missing(shell: Shell) -> None:
    thread = "threading.Thread(target=time.sleep, args=(60,), daemon=True)"
    shell.file("threads.py", f"import threading, time\n{thread}.start()")
    missing = shell.run("worker", "--check", "--allow", "no_such_262", "cloudpickle")
    assert missing.status == 2
    assert "\n  the package no_such_262 is not installed: install it, or remove it from --allow" in missing.stdout
    assert re.search("cloudpickle +can be imported", missing.stdout)
    assert missing.stdout.endswith("this machine cannot serve\n")
    threads = shell.run("worker", "--check", "--allow", "threads", PYTHONPATH=str(shell.folder))
    assert threads.status == 2
    assert "the package 'threads' cannot be allowed: importing it starts a thread" in threads.stdout
    assert "Traceback" not in missing.stderr + threads.stderr


def test_an_invalid_setting_is_reported(shell: Shell) -> None:
    done = shell.run("worker", "--check", "--hours", "22")
    assert (done.status, done.stdout) == (2, "")
    assert "invalid hours '22'" in done.stderr
    assert "Traceback" not in done.stderr


def test_limits_come_from_file_and_environment_too(shell: Shell) -> None:
    shell.file("ec262.toml", 'hours = ["1-2"]\nnice = 3\noutput_limit_mib = 5\n')
    environment = {"EC262_HOURS": "3-4, 5-6", "EC262_WHEN_IDLE": "true", "EC262_IDLE_MINUTES": "0"}
    done = shell.run("worker", "--check", "--config", "ec262.toml", "--nice", 4, **environment)
    assert done.status == 0
    assert re.search(r"hours +03:00-04:00, 05:00-06:00, local time", done.stdout)
    assert re.search(r"niceness +4", done.stdout)
    assert re.search(r"output +5 MiB", done.stdout)
    assert re.search(r"idleness +while others use less than 25% of the processors, and 0 minutes after", done.stdout)
    assert re.search(r"now .*\(others use \d+%, last input \w+ minutes ago\)", done.stdout)


def test_running_without_a_sandbox_is_reported_loudly(shell: Shell, network: Network) -> None:
    flags = ("-P", 0, "--listen", "127.0.0.1", "--discovery", network.url)
    worker = shell.start("worker", *flags, "--sandbox", "none-i-trust-every-foreman")
    assert worker.stderr is not None
    assert "WARNING: THERE IS NO SANDBOX" in worker.stderr.readline()
    assert "serves at" in line_of(worker)
    worker.send_signal(signal.SIGTERM)
    assert shell.wait(worker).status == 0
    assert shell.run("worker", "--sandbox", "none").status == 2


# --- hours ----------------------------------------------------------------------------------------------------------


def test_a_worker_outside_its_hours_waits_out_of_the_pool(shell: Shell, network: Network) -> None:
    hour = (time.localtime().tm_hour + 2) % 24
    flags = ("-P", 0, "--listen", "127.0.0.1", "--discovery", network.url, "--credentials", "waiting")
    worker = shell.start("worker", *flags, "--hours", f"{hour}-{(hour + 20) % 24}")
    told = read_until(worker.stderr, "not in the pool")
    assert "not in the pool, will join automatically: it is outside the hours" in told
    worker.send_signal(signal.SIGTERM)
    done = shell.wait(worker)
    assert (done.status, done.stdout, done.stderr) == (0, "", "")


# --- ec262 foreman --check-determinism --------------------------------------------------------------------------------


def test_a_good_job_passes_without_any_discovery(shell: Shell) -> None:
    shell.file("job.py", JOB)
    done = shell.run("foreman", "job.py", "--check-determinism", EC262_DISCOVERY="http://127.0.0.1:9")
    mapped, reduced = succeeded(done).splitlines()
    assert mapped.startswith("mapper: 2 of 2 rows computed twice")
    assert reduced.startswith("reducer: the 9 keys that they yielded computed twice")
    assert mapped.endswith(": no difference")
    assert reduced.endswith(": no difference")
    assert not (Path(shell.folder).parent / "home" / ".local").exists()  # no account was made


@pytest.mark.parametrize(
    ("mapper", "told"),
    [
        (
            "yield number % 7, int(time.time()) if number == 299 else 0",
            [r"for the row with key 'row 299'", r"differs: +the value of the key 5", r"cause: +the clock"],
        ),
        (
            "yield 'words', {'list': list({'alpha', 'beta', 'gamma', 'delta'})}",
            [r"for the row with key 'row 0'", r"at \['list'\]", r"a different order: sort", r"cause: +hashes"],
        ),
    ],
)
def test_a_bad_job_is_reported_before_a_credit_is_spent(shell: Shell, mapper: str, told: list[str]) -> None:
    shell.file("job.py", numbers(mapper))
    done = shell.run("foreman", "job.py", "--check-determinism", "--sample", 9, "--output", "never.jsonl")
    assert (done.status, done.stderr) == (1, "")
    assert "mapper: 9 of 300 rows computed twice" in done.stdout
    for pattern in told:
        assert re.search(pattern, done.stdout), done.stdout
    assert not (shell.folder / "never.jsonl").exists()


def test_a_check_of_a_script_that_runs_its_job_itself_and_of_one_that_raises(shell: Shell) -> None:
    script = JOB.replace("data = ", "print(ec262.run_job(") + "))\n"
    shell.file("script.py", script.replace("\n))", "))"))
    assert "2 of 2 rows" in succeeded(shell.run("foreman", "script.py", "--check-determinism"))
    shell.file("raises.py", numbers("yield key, 1 // (number - 3)"))
    done = shell.run("foreman", "raises.py", "--check-determinism")
    assert (done.status, done.stdout) == (1, "")
    assert "the mapper raised ZeroDivisionError at the row with key 'row 3'" in done.stderr
    shell.file("loops.py", numbers("while number == 0: pass"))
    done = shell.run("foreman", "loops.py", "--check-determinism", "--task-timeout", 1)
    assert (done.status, done.stdout) == (1, "")
    assert re.search(r"exceeded its (cpu|wall) limit: 1 s .* in the mapper at the row with key 'row 0'", done.stderr)
    shell.file("empty.py", WORD_COUNT + "\n    data = {}\n")
    assert succeeded(shell.run("foreman", "empty.py", "--check-determinism")).startswith("the job has no rows")


def test_a_sample_is_a_number_from_one(shell: Shell) -> None:
    shell.file("job.py", JOB)
    done = shell.run("foreman", "job.py", "--check-determinism", "--sample", "0")
    assert done.status == 2
    assert "must be a number of 1 or more, not '0'" in done.stderr


# --- results and limits over the network ------------------------------------------------------------------------------


def test_floats_are_rounded_where_they_are_computed(shell: Shell, network: Network) -> None:
    shell.file(
        "job.py",
        """
        import ec262

        @ec262.mapper
        def mapper(key, value):
            yield value, [value / 3, {"x": (value, 7, True)}]

        @ec262.reducer
        def reducer(key, values):
            yield key, [len(values), values[0], 1e300 * key]

        data = {"a": 0.3, "b": 0.1 + 0.2}
        """,
    )
    done = shell.run("foreman", "job.py", "--quiet", "--discovery", network.url, "--round-floats", 12)
    assert succeeded(done) == '[0.3,[2,[0.1,{"x":{"$tuple":[0.3,7,true]}}],3e+299]]\n'
    bad = shell.run("foreman", "job.py", "--discovery", network.url, "--round-floats", 16)
    assert bad.status == 2
    assert "round_floats" in bad.stderr


def test_a_memory_limit_names_the_mapper_and_the_row(shell: Shell, network: Network) -> None:
    shell.file("job.py", numbers("kept = [0] * (10**9 if number == 123 else 1); yield number % 3, len(kept)"))
    done = shell.run("foreman", "job.py", "--quiet", "--discovery", network.url, "--task-memory", 64)
    assert (done.status, done.stdout) == (1, "")
    told = r"exceeded its memory limit: 64 MiB of memory in the mapper at the row with key 'row 123'"
    assert re.search(told, done.stderr), done.stderr


def test_prints_come_back_with_the_result(shell: Shell, network: Network) -> None:
    shell.file("job.py", JOB.replace("for word", "print('read', text[:6])\n        for word"))
    done = shell.run("foreman", "job.py", "--quiet", "-v", "--discovery", network.url)
    assert done.status == 0
    assert pairs(done.stdout)["Humpty"] == 2
    assert re.search(r"map task \d printed:\n +read Humpty\n", done.stderr)


# --- folders --------------------------------------------------------------------------------------------------------


def test_a_missing_temporary_folder_is_reported_before_any_work(shell: Shell) -> None:
    told = "ec262: cannot write large temporary files in /nonexistent (No such file or directory): set TMPDIR to a"
    shell.file("job.py", JOB)
    for command in (
        ("worker", "-P", 0, "--discovery", "http://127.0.0.1:9"),
        ("foreman", "job.py"),
        ("foreman", "job.py", "--discovery", "http://127.0.0.1:9"),
    ):
        done = shell.run(*command, TMPDIR="/nonexistent")
        assert (done.status, done.stdout) == (2, "")
        assert done.stderr.startswith(told), done.stderr
        assert done.stderr.count("\n") == 1
    done = shell.run("worker", "--check", TMPDIR="/nonexistent")
    assert done.status == 2
    assert "this machine cannot serve" in done.stdout
