from __future__ import annotations

import pytest

from ec262.domain.errors import InvalidRequest
from ec262.domain.legacy_2012.constants_2012 import Constants2012
from ec262.domain.legacy_2012.numbers_2012 import MANY, plain_decimal
from ec262.domain.legacy_2012.parameters_2012 import (
    LEAVE_S,
    Ending,
    Registration,
    ending,
    is_valid,
    registration,
    tasks_wanted,
)

NO_NUMBERS = ["", " ", "x", "1.0", "1e3", "+1", "-2", "0x10", "1_000", " 1", "1 ", "1\n", "٣", "²", "1,2", "None"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("7", 7), ("007", 7), ("999999999", 999999999), ("1000000000", MANY), ("9" * 5000, MANY), ("0" * 50, 0)],
)
def test_plain_decimals(text: str, value: int) -> None:
    assert plain_decimal(text) == value


@pytest.mark.parametrize("text", [*NO_NUMBERS, "-1"])
def test_no_plain_decimals(text: str) -> None:
    assert plain_decimal(text) is None


def test_a_registration_without_parameters_is_for_the_constants() -> None:
    assert registration({}, Constants2012()) == Registration(port=26262, ttl_s=60)
    constants = Constants2012(default_port=999, lease_s=5)
    assert registration({"x": "y", "Port": "7", "port[]": "8"}, constants) == Registration(port=999, ttl_s=5)


@pytest.mark.parametrize(
    ("port", "ttl", "expected"),
    [
        ("11235", "60", Registration(port=11235, ttl_s=60)),
        ("1", "1", Registration(port=1, ttl_s=1)),
        ("65535", "86400", Registration(port=65535, ttl_s=86400)),
        ("80", "-1", Registration(port=80, ttl_s=LEAVE_S)),
    ],
)
def test_a_registration_says_where_and_for_how_long(port: str, ttl: str, expected: Registration) -> None:
    assert registration({"port": port, "ttl": ttl}, Constants2012()) == expected


@pytest.mark.parametrize("port", [*NO_NUMBERS, "0", "65536", "-1", "9" * 5000])
def test_ports_out_of_range(port: str) -> None:
    with pytest.raises(InvalidRequest, match="port must be"):
        registration({"port": port}, Constants2012())


@pytest.mark.parametrize("ttl", [*NO_NUMBERS, "0", "-0", "-01", "86401", "60.0", "9" * 5000])
def test_leases_out_of_range(ttl: str) -> None:
    with pytest.raises(InvalidRequest, match="ttl must be"):
        registration({"ttl": ttl}, Constants2012())


def test_the_number_of_tasks_wanted_is_read() -> None:
    assert tasks_wanted({}) == 1
    assert tasks_wanted({"n": "2"}) == 2
    assert tasks_wanted({"n": "9" * 5000}) == MANY


@pytest.mark.parametrize("n", [*NO_NUMBERS, "0", "00", "-1"])
def test_no_number_of_tasks(n: str) -> None:
    with pytest.raises(InvalidRequest, match="n must be"):
        tasks_wanted({"n": n})


def test_an_ending_is_as_it_was_sent() -> None:
    assert ending("7", {}) == Ending(task="7", valid=None, missing=None)
    assert ending("7", {"valid": "?", "missing": "x"}) == Ending(task="7", valid="?", missing="x")


def test_a_result_is_valid_or_not() -> None:
    assert is_valid("1") is True
    assert is_valid("0") is False
    assert is_valid(None) is False


@pytest.mark.parametrize("valid", ["", "2", "01", "10", "true", "yes", "-1", " 1", "1.0"])
def test_a_result_is_nothing_else(valid: str) -> None:
    with pytest.raises(InvalidRequest, match="valid must be"):
        is_valid(valid)
