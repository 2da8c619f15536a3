"""What becomes of a job's result, by command line."""

from __future__ import annotations

import json
import signal
import stat

import pytest

from tests.shell import COUNTS, RHYME, WORD_COUNT, Foreman, Network, Shell, pairs, read_until, succeeded

GOOD = WORD_COUNT + f"\n    data = {dict(enumerate(RHYME))}\n"


# --- files ----------------------------------------------------------------------------------------------------------


def test_an_output_appears_when_it_is_whole(shell: Shell, foreman: Foreman) -> None:
    output = shell.file("out.jsonl", "as before\n")
    shell.file(
        "bad.py", WORD_COUNT.replace("sum(counts)", "sum(counts) / 0") + f"\n    data = {dict(enumerate(RHYME))}\n"
    )
    assert foreman("bad.py", "--output", "out.jsonl", "--credentials", "a").status == 1
    assert output.read_text() == "as before\n"
    shell.file("good.py", GOOD)
    assert succeeded(foreman("good.py", "--output", "out.jsonl", "--credentials", "b")) == ""
    assert pairs(output.read_text()) == COUNTS
    assert sorted(path.name for path in shell.folder.glob("*jsonl*")) == ["out.jsonl"]


def test_an_output_that_is_no_file_is_not_replaced_by_one(shell: Shell, foreman: Foreman) -> None:
    shell.file("job.py", GOOD)
    assert pairs(succeeded(foreman("job.py", "--output", "/dev/stdout"))) == COUNTS


@pytest.mark.parametrize("output", ["no-such-folder/out.jsonl", "folder"])
def test_an_output_that_cannot_be_written_is_reported_before_any_work(
    shell: Shell, foreman: Foreman, output: str
) -> None:
    (shell.folder / "folder").mkdir()
    shell.file("job.py", WORD_COUNT + "\n    data = {1: 'a b'}\n")
    done = foreman("job.py", "--output", output)
    assert (done.status, done.stdout) == (2, "")
    assert f"cannot write {output}" in done.stderr
    assert "Traceback" not in done.stderr
    assert "of 12," in succeeded(foreman("job.py", "--dry-run"))


@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_an_output_that_is_replaced_keeps_its_mode(shell: Shell, foreman: Foreman, mode: int) -> None:
    output = shell.file("out.jsonl", "as before\n")
    output.chmod(mode)
    shell.file("job.py", GOOD)
    succeeded(foreman("job.py", "--output", "out.jsonl"))
    assert pairs(output.read_text()) == COUNTS
    assert stat.S_IMODE(output.stat().st_mode) == mode


def test_an_output_behind_a_link_is_replaced_where_it_is(shell: Shell, foreman: Foreman) -> None:
    output = shell.file("out.jsonl", "as before\n")
    (shell.folder / "link").symlink_to(output)
    shell.file("job.py", GOOD)
    succeeded(foreman("job.py", "--output", "link"))
    assert (shell.folder / "link").is_symlink()
    assert pairs(output.read_text()) == COUNTS


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--output", "./in.txt"], "--output in.txt would overwrite an input"),
        (["--output", "hard"], "--output hard would overwrite an input"),
        (["--output", "soft"], "--output soft would overwrite an input"),
        (["--output", "job.py"], "--output job.py would overwrite the job"),
        (["--report", "in.html"], "--report in.json would overwrite an input"),
        (["--output", "out.json", "--report", "out.html"], "--report out.json would overwrite what --output writes"),
    ],
)
def test_no_file_of_the_job_is_overwritten(shell: Shell, foreman: Foreman, flags: list[str], told: str) -> None:
    job, text = shell.file("job.py", WORD_COUNT), shell.file("in.txt", "a b\n")
    shell.file("in.json", "a b\n")
    (shell.folder / "hard").hardlink_to(text)
    (shell.folder / "soft").symlink_to(text)
    before = job.read_bytes()
    done = foreman("job.py", "--input", "in.txt", "in.json", *flags)
    assert (done.status, done.stdout, done.stderr) == (2, "", f"ec262: {told}: give another name\n")
    assert (job.read_bytes(), text.read_text()) == (before, "a b\n")


def test_a_report_named_in_the_environment_overwrites_no_file_of_the_job(shell: Shell, foreman: Foreman) -> None:
    shell.file("job.py", WORD_COUNT)
    shell.file("in.json", "a b\n")
    done = foreman("job.py", "--input", "in.json", EC262_REPORT="in.json")
    assert (done.status, done.stderr) == (2, "ec262: --report in.json would overwrite an input: give another name\n")


SLOW = """
    import time
    import ec262

    @ec262.mapper
    def mapper(key, value):
        time.sleep(600)
        yield key, value

    @ec262.reducer
    def reducer(key, values):
        yield key, len(values)

    data = {1: 2}
"""


@pytest.mark.parametrize("before", ["as before\n", None])
def test_kill_9_leaves_nothing_beside_an_output(shell: Shell, network: Network, before: str | None) -> None:
    if before is not None:
        shell.file("out.jsonl", before)
    shell.file("job.py", SLOW)
    files = sorted(shell.folder.iterdir())
    process = shell.start(
        "foreman", "job.py", "-v", "--discovery", network.url, "--output", "out.jsonl", "--task-timeout", 5
    )
    read_until(process.stderr, r"map phase")
    process.kill()
    assert shell.wait(process).status == -signal.SIGKILL
    assert sorted(shell.folder.iterdir()) == files


# --- where it cannot go ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("redirected", [False, True], ids=["--output", ">"])
def test_a_full_disk_is_reported_in_one_sentence(shell: Shell, foreman: Foreman, *, redirected: bool) -> None:
    shell.file("job.py", GOOD)
    if redirected:
        done = foreman("job.py", redirect="> /dev/full")
        assert done.stderr == "ec262: cannot write to standard output: No space left on device\n"
    else:
        done = foreman("job.py", "--output", "/dev/full")
        assert done.stderr == "ec262: cannot write /dev/full: No space left on device\n"
    assert done.status == 1


def test_a_closed_output_is_reported_in_one_sentence(shell: Shell, foreman: Foreman) -> None:
    shell.file("job.py", GOOD)
    done = foreman("job.py", redirect=">&-")
    assert (done.status, done.stderr) == (1, "ec262: cannot write to standard output: it is closed\n")


def test_a_job_goes_on_where_nobody_can_read_its_progress(shell: Shell, network: Network) -> None:
    shell.file("job.py", GOOD)
    line = ("foreman", "job.py", "--discovery", network.url)
    for number, redirect in enumerate(["2> /dev/full", "2>&-"]):
        done = shell.run(*line, "--credentials", number, redirect=redirect)
        assert (done.status, pairs(done.stdout)) == (0, COUNTS)


@pytest.mark.parametrize("encoding", ["ascii", "ascii:replace", "latin-1", "utf-8"])
def test_a_result_gets_through_every_encoding(shell: Shell, foreman: Foreman, encoding: str) -> None:
    words = ["plain", "\xe9", "\u20ac", "\U0001f600"]
    shell.file("job.py", WORD_COUNT + f"\n    data = {{1: {' '.join(words)!a}}}\n")
    done = foreman("job.py", redirect="> out", PYTHONIOENCODING=encoding)
    assert (done.status, done.stderr) == (0, "")
    lines = (shell.folder / "out").read_bytes().decode(encoding.partition(":")[0]).splitlines()
    assert dict(map(json.loads, lines)) == dict.fromkeys(words, 1)


def test_a_reader_that_closes_the_pipe_is_not_reported(shell: Shell, foreman: Foreman) -> None:
    shell.file("job.py", GOOD)
    done = foreman("job.py", redirect="| true")
    assert (done.stdout, done.stderr) == ("", "")
