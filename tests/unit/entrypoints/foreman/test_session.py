"""What ``run_job`` checks and encodes before anything is started or bought."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ec262
from ec262.domain.errors import (
    ConfigurationError,
    DiscoveryUnavailable,
    FunctionNotPicklable,
    JobDefinitionError,
    ValueNotEncodable,
)
from ec262.entrypoints.foreman.job_reading import build_job
from ec262.entrypoints.foreman.session import Session, forgotten_yield
from ec262.entrypoints.shared.settings import ForemanSettings


def mapper(key: Any, value: Any) -> Iterator[tuple[Any, Any]]:
    yield key, value


def reducer(key: Any, values: tuple[Any, ...]) -> Iterator[tuple[Any, Any]]:
    yield key, values


FUNCTIONS: dict[str, Any] = {"mapper": mapper, "reducer": reducer, "combiner": None}


@pytest.mark.parametrize(
    "data", [{1: "a", 2: "b"}, [(1, "a"), (2, "b")], iter([[1, "a"], [2, "b"]]), lambda: {1: "a", 2: "b"}]
)
def test_data_in_all_its_forms(data: Any) -> None:
    rows = build_job(data, FUNCTIONS, ForemanSettings()).rows
    assert rows.payload(range(len(rows.sizes))) == b'[[1,"a"],[2,"b"]]'


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ("text", "the data is str"),
        (7, "the data is int"),
        (None, "the data is NoneType"),
        ([(1, "a"), 2], "row 2 of the data is not a"),
        ([(1, 2, 3)], "row 1 of the data is not a"),
    ],
)
def test_data_that_is_none(data: Any, complaint: str) -> None:
    with pytest.raises(JobDefinitionError, match=complaint):
        build_job(data, FUNCTIONS, ForemanSettings())


@pytest.mark.parametrize("name", ["nowhere/report.html", "report.txt"])
def test_a_report_that_cannot_be_written_is_reported_before_the_data_are_read(tmp_path: Path, name: str) -> None:
    def data() -> dict[int, str]:
        raise AssertionError("too early")

    with Session({}, {}) as session, pytest.raises(ConfigurationError, match="report"):
        session.run_job(data, FUNCTIONS, {"report": str(tmp_path / name)})


def test_a_value_without_canonical_form_names_key_and_type() -> None:
    with pytest.raises(ValueNotEncodable, match=r"'k'.*object|object.*'k'"):
        build_job({"k": object()}, FUNCTIONS, ForemanSettings())


@pytest.mark.parametrize("role", ["mapper", "reducer"])
def test_missing_functions_say_how_to_give_them(role: str) -> None:
    with pytest.raises(JobDefinitionError, match=f"the job has no {role}: mark one with @ec262.{role}"):
        build_job({}, FUNCTIONS | {role: None}, ForemanSettings())


def test_a_function_that_is_none() -> None:
    with pytest.raises(JobDefinitionError, match="the mapper is not a function but str"):
        build_job({}, FUNCTIONS | {"mapper": "f"}, ForemanSettings())


def test_functions_are_checked_before_anything_is_started() -> None:
    lock = threading.Lock()

    def holding(key: Any, _value: Any) -> Iterator[tuple[Any, Any]]:
        yield key, lock.locked()

    with pytest.raises(FunctionNotPicklable), Session({}, {}) as session:
        session.run_job({1: 1}, FUNCTIONS | {"mapper": holding}, {})


def test_no_data_is_an_empty_result_and_starts_nothing() -> None:
    with Session({}, {}) as session:
        assert session.run_job({}, FUNCTIONS, {}) == {}
        assert session._systems._systems == []


def test_unknown_settings_are_named() -> None:
    with Session({}, {}), pytest.raises(JobDefinitionError, match="no setting named sead"):
        ec262.run_job({}, mapper=mapper, reducer=reducer, sead=1)


def test_flags_go_before_the_callers_settings() -> None:
    with Session({"verify": "faith"}, {}), pytest.raises(ConfigurationError, match="faith"):
        ec262.run_job({}, mapper=mapper, reducer=reducer, verify="majority:3")


class Pairs:
    def rule_for(self, name: ec262.TaskName, purchases: int) -> ec262.Quorum:
        return ec262.Quorum(count=2)

    def replicas_to_add(self, name: ec262.TaskName, verdict: ec262.Verdict) -> int:
        return verdict.wanted


def test_a_users_own_rule_is_not_a_text() -> None:
    own: ec262.VerificationPlan = Pairs()
    with Session({}, {"EC262_VERIFY": "faith"}) as session:
        with pytest.raises(ConfigurationError, match="faith"):
            session.run_job({}, FUNCTIONS, {})
        with pytest.raises(JobDefinitionError, match="rule_for and replicas_to_add"):
            session.run_job({}, FUNCTIONS, {"verify": 3})
    with Session({}, {}) as session:
        assert session.run_job({}, FUNCTIONS, {"verify": own}) == {}
    with Session({"verify": "majority:3"}, {}) as session:  # a flag goes before what the caller gave
        assert session.run_job({}, FUNCTIONS, {"verify": own}) == {}


def test_a_name_that_the_package_does_not_have_is_an_error() -> None:
    assert ec262.Majority(replicas=3, quorum=2).spec == "majority:3:2"
    with pytest.raises(AttributeError, match="no attribute 'Minority'"):
        _ = ec262.Minority


def returning(_key: Any, _value: Any) -> list[Any]:
    return []


@pytest.mark.parametrize(
    ("functions", "mapped", "told"),
    [
        ({"mapper": mapper, "reducer": returning}, False, ""),
        ({"mapper": returning, "reducer": reducer}, True, ""),
        ({"mapper": returning, "reducer": reducer}, False, "the mapper returning returned no pairs for any row"),
        ({"mapper": mapper, "reducer": returning}, True, "the reducer returning returned no pairs for any key"),
        ({"mapper": mapper, "reducer": reducer, "combiner": returning}, False, "the combiner returning returned no"),
    ],
)
def test_a_function_that_yields_nothing_is_named_unless_it_is_a_generator(
    functions: dict[str, Any], mapped: object, told: str
) -> None:
    sentence = forgotten_yield(functions, mapped=bool(mapped))
    assert sentence.startswith(told)
    assert bool(sentence) is bool(told)


async def test_a_running_event_loop_is_not_an_obstacle(tmp_path: Path) -> None:
    flags = {"discovery": "http://127.0.0.1:9", "patience": 0.1, "credentials": str(tmp_path)}
    with Session(flags, {}) as session, pytest.raises(DiscoveryUnavailable):
        session.run_job({1: 1}, FUNCTIONS, {})
    await asyncio.sleep(0)
