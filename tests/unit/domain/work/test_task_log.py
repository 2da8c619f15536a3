"""What the log of a failed task says."""

from __future__ import annotations

import traceback

import pytest

from ec262.domain.work.task_log import MAX_MESSAGE_CHARS, Frame, TaskLog, read_task_log

LAST = """Traceback (most recent call last):
  File "/jobs/job.py", line 10, in share
    yield key, divide(number)
               ^^^^^^^^^^^^^^
  File "/jobs/job.py", line 7, in <lambda>
  [Previous line repeated 3 more times]
"""
FRAMES = (
    Frame(file="/jobs/job.py", line=10, function="share", source="yield key, divide(number)"),
    Frame(file="/jobs/job.py", line=7, function="<lambda>"),
)
FIRST = 'Traceback (most recent call last):\n  File "json/decoder.py", line 3, in decode\nKeyError: 1\n'
CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"


def test_a_traceback_has_frames_and_a_message() -> None:
    assert read_task_log(f"{LAST}ValueError: no: 7\n", "ValueError") == TaskLog(frames=FRAMES, message="no: 7")


@pytest.mark.parametrize("line", ["ValueError", "jobs.errors.ValueError"])
def test_the_message_may_be_missing_and_the_module_be_named(line: str) -> None:
    assert read_task_log(f"{LAST}{line}\n", "ValueError") == TaskLog(frames=FRAMES)


def test_output_comes_before_a_traceback_and_notes_after_it() -> None:
    log = read_task_log(f"hello\n{FIRST}{LAST}ValueError: one\ntwo\na note\n", "ValueError")
    assert log == TaskLog(printed=f"hello\n{FIRST}", frames=FRAMES, message="one", rest="two\na note\n")


@pytest.mark.parametrize("link", [CAUSE, CONTEXT])
def test_a_chain_is_distinguished_from_printed_text(link: str) -> None:
    log = read_task_log(f"hello\n{FIRST}{link}{FIRST}{CONTEXT}{LAST}ValueError: x\n", "ValueError")
    assert log.printed == "hello\n"
    assert log.causes == f"{FIRST}{link}{FIRST}{CONTEXT}"
    assert (log.frames, log.message) == (FRAMES, "x")


def test_an_error_without_a_traceback() -> None:
    log = read_task_log("hello\nTypeError: the mapper returned 5\nthe function is at job.py, line 3\n", "TypeError")
    assert log == TaskLog(
        printed="hello\n", message="the mapper returned 5", rest="the function is at job.py, line 3\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello\n",
        LAST,
        f"{CAUSE}{LAST}",
        "".join(traceback.format_exception(ExceptionGroup("several", [ValueError("x")]))),
        'Traceback (most recent call last):\n  File "job.py", line 1, in f\n[the log is cut here]\n',
    ],
)
def test_a_line_without_an_exception_name_counts_as_output(text: str) -> None:
    assert read_task_log(text, "ValueError") == TaskLog(printed=text)


def test_a_link_without_a_traceback_before_it_is_not_a_chain() -> None:
    assert read_task_log(f"{CAUSE}{LAST}ValueError: x\n", "ValueError").printed == CAUSE


def test_a_long_message_is_cut() -> None:
    message = read_task_log(f"{LAST}ValueError: {'x' * 10_000}\n", "ValueError").message
    assert message == "x" * MAX_MESSAGE_CHARS + "..."
