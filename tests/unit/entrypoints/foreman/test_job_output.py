"""What a terminal shows of a result, and that files and pipes get all of it."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from ec262.domain.values import canonical
from ec262.entrypoints.foreman.job_output import MAX_LINES_SHOWN, opened_output


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines_of(result: Mapping[Any, Any]) -> list[bytes]:
    return [canonical.encode([key, value]) + b"\n" for key, value in result.items()]


def printed(monkeypatch: pytest.MonkeyPatch, result: Mapping[Any, Any], stream: io.StringIO) -> str:
    monkeypatch.setattr(sys, "stdout", stream)
    arguments = argparse.Namespace(
        job="job.py", input=None, output=None, report=None, dry_run=False, check_determinism=False
    )
    with opened_output(arguments) as output:
        output.write(lines_of(result))
    assert output.lines == len(result)
    return stream.getvalue()


def test_a_terminal_shows_the_largest_numbers_first_and_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    result = {"rare": 1, "often": 20240, "half": 0.5, (1, "x"): 7, "below": -3, "endless": float("inf")}
    assert printed(monkeypatch, result, Terminal()) == (
        "   inf  endless\n20,240  often\n     7  (1, 'x')\n     1  rare\n   0.5  half\n    -3  below\n"
    )


def test_equal_numbers_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    result = dict.fromkeys([f"{number:03}" for number in range(MAX_LINES_SHOWN + 5)], 1)
    shown = printed(monkeypatch, result, Terminal()).splitlines()
    assert shown == [f"1  {number:03}" for number in range(MAX_LINES_SHOWN)]


def test_the_rest_of_the_numbers_is_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    many = {f"word {number}": number * 7919 % 2003 for number in range(2003)}
    shown = printed(monkeypatch, many, Terminal()).splitlines()
    assert [int(line.split()[0].replace(",", "")) for line in shown] == list(range(2002, 2002 - MAX_LINES_SHOWN, -1))
    assert capsys.readouterr().err == f"... and {2003 - MAX_LINES_SHOWN:,} more: --output FILE writes all\n"


@pytest.mark.parametrize("odd", [True, None, "7", [7], 7j, float("nan"), 1 << 300])
def test_a_terminal_shows_the_first_lines_of_other_results(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], odd: Any
) -> None:
    result = {number: number for number in range(MAX_LINES_SHOWN + 1)} | {"odd": odd}
    lines = [line.decode() for line in lines_of(result)]
    assert printed(monkeypatch, result, Terminal()) == "".join(lines[:MAX_LINES_SHOWN])
    assert capsys.readouterr().err == "... and 2 more: --output FILE writes all\n"


def test_a_pipe_gets_every_line_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    result = {f"word {number}": number for number in range(MAX_LINES_SHOWN + 5)}
    assert printed(monkeypatch, result, io.StringIO()) == "".join(line.decode() for line in lines_of(result))


def test_a_key_cannot_pass_for_another_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed(monkeypatch, {"a\n9  b\x1b[2J": 1}, Terminal()) == "1  a\ufffd9  b\ufffd[2J\n"


def test_an_empty_result_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed(monkeypatch, {}, Terminal()) == ""
