"""Lines for people, and lines for programs."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from ec262.entrypoints.shared.logs import JsonFormatter, TextFormatter, request_id


@pytest.fixture
def in_request() -> Iterator[None]:
    token = request_id.set("0123456789abcdef")
    yield
    request_id.reset(token)


def record(message: str = "said %s", *given: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("ec262.some.where", logging.WARNING, "file.py", 1, message, given or ("hello",), None)
    made.created, made.msecs = 1_700_000_000.125, 125.0
    vars(made).update(extra)
    return made


def test_json_has_one_object_a_line() -> None:
    line = JsonFormatter().format(record("two\nlines %s \u2028", "x"))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.125Z",
        "level": "WARNING",
        "logger": "ec262.some.where",
        "message": "two\nlines x \u2028",
    }


def test_json_tells_the_request(in_request: None) -> None:
    known: dict[str, Any] = {"client": "192.0.2.1", "method": "POST", "path": "/v1/pool", "status": 200, "ms": 1.5}
    line = json.loads(JsonFormatter().format(record(**known, authorization="Bearer secret")))
    assert line["request_id"] == "0123456789abcdef"
    assert {name: line[name] for name in known} == known
    assert "secret" not in str(line)


def test_json_holds_the_traceback() -> None:
    error = ValueError("what it was")
    error.__cause__ = KeyError("why")
    made = record()
    made.exc_info = (ValueError, error, None)
    text = json.loads(JsonFormatter().format(made))["exception"]
    assert "KeyError: 'why'" in text
    assert text.endswith("ValueError: what it was\n")


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_a_traceback_shows_no_row_of_a_database(formatter: logging.Formatter) -> None:
    error = ValueError("the reason")
    error.__cause__ = RuntimeError('violates check constraint "key"\nDETAIL:  Failing row contains (hunter2, won).')
    made = record()
    made.exc_info = (ValueError, error, None)
    text = formatter.format(made)
    assert "the reason" in text
    assert "violates check constraint" in text
    assert "hunter2" not in text


def test_text_ends_with_the_request(in_request: None) -> None:
    assert TextFormatter().format(record()).endswith(" WARNING ec262.some.where: said hello [0123456789abcdef]")


def test_text_without_a_request() -> None:
    assert TextFormatter().format(record()).endswith(" WARNING ec262.some.where: said hello")
