"""Strangers' text: nothing in it acts on a terminal, or looks like a line of our own."""

from __future__ import annotations

import logging

import pytest

from ec262.domain.errors import BadDelivery, Ec262Error, PeerRefused, UserCodeFailed
from ec262.domain.foreman.job.diagnosis import Diagnosis, Suspect
from ec262.domain.foreman.job.difference import Difference
from ec262.domain.protocol.messages import Failed, Refused
from ec262.domain.terminal import indented, one_line, printable
from ec262.entrypoints.shared import command
from ec262.entrypoints.shared.logs import JsonFormatter, TextFormatter

ACTING = {
    "clears the screen": "\x1b[2J",
    "C1": "\x9b2J",
    "goes back": "\rec262: all is well",
    "deletes": "\b\x7f",
    "sets the title": "\x1b]0;title\x07",
    "turns text round": "\u202etxt.exe",
    "isolates": "\u2066x\u2069",
    "has no width": "a\u200bb",
    "begins a line elsewhere": "\u2028\u2029\x85\x0b\x0c",
    "is half a character": "\ud800",
}
FORGED = "x\n2026-12-01 00:00:00,000 WARNING ec262: all is well"


def harmless(text: str) -> bool:
    return all(char.isprintable() or char in "\n\t" for char in text)


def record(message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("ec262", logging.INFO, __file__, 1, message, arguments, None)


@pytest.mark.parametrize("text", ACTING.values(), ids=ACTING)
def test_no_text_acts_on_a_terminal(text: str) -> None:
    assert not harmless(text)
    for clean in (printable, one_line, indented):
        assert harmless(clean(f"before {text} behind"))
        assert clean(f"before {text} behind").endswith(" behind")
    for error in (Ec262Error(text), BadDelivery(text), PeerRefused(f"refused: {text}")):
        assert harmless(str(error))
    failed = UserCodeFailed(function="mapper", exception=text, row=text, frames=(), report="", message=text)
    assert harmless(str(failed))
    assert harmless(Refused(task="", reason=text).reason)
    assert harmless(Failed(task="t", reason=text).reason)


@pytest.mark.parametrize("text", ACTING.values(), ids=ACTING)
def test_no_log_line_acts_on_a_terminal(text: str) -> None:
    difference = Difference(where=f"the failure {text}", first=text, second="b")
    hint = Diagnosis(suspect=Suspect.CHEATING, difference=difference, workers=(text, "b"))
    for formatter in (TextFormatter(), JsonFormatter()):
        assert harmless(formatter.format(record("workers differ in %s", hint)))


def test_no_text_begins_a_log_line() -> None:
    lines = TextFormatter().format(record("worker %s", FORGED)).splitlines()
    assert [line.startswith("    ") for line in lines] == [False, True]
    failed = record("failed")
    failed.exc_info = (ValueError, ValueError(FORGED), None)
    lines = TextFormatter().format(failed).splitlines()
    assert not any(line.startswith("2026-12-01 00:00:00,000") for line in lines)
    assert "\n" not in one_line(FORGED)
    assert "\n" not in Refused(task="", reason=FORGED).reason


class Terminal:
    """A standard output that is a terminal, or none."""

    def __init__(self, *, terminal: bool) -> None:
        self.terminal = terminal
        self.text = ""

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


@pytest.mark.parametrize("text", ACTING.values(), ids=ACTING)
def test_output_of_commands_cannot_control_a_terminal(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = Terminal(terminal=True), Terminal(terminal=True)
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    command.write([f'["{text}",1]\n'])
    command.tell(text)
    command.complain(text)
    assert harmless(out.text)
    assert harmless(err.text)


def test_a_pipe_gets_results_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal(terminal=False)
    monkeypatch.setattr("sys.stdout", out)
    command.write(['["\u202e\x7f",1]\n'])
    assert out.text == '["\u202e\x7f",1]\n'
