"""What every sandbox does with a job, whatever keeps it in."""

from __future__ import annotations

import asyncio
import pickle
import random
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import pytest
import pytest_asyncio

from ec262.adapters.sandbox.in_process import UnconfinedSandbox
from ec262.adapters.sandbox.linux.linux_sandbox import LinuxSandbox
from ec262.adapters.sandbox.wasm.wasm_sandbox import WasmSandbox
from ec262.domain.errors import SandboxLimitExceeded
from ec262.domain.ports.sandbox import Sandbox
from ec262.domain.work.work import Limits, Phase, Work
from tests.portable import needs_guest
from tests.sandbox_jobs import (
    LIMITS,
    assert_serves,
    count_words,
    encoded,
    failure_of,
    map_work,
    pairs_of,
    pickled,
    reduce_work,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="this sandbox needs Linux")

Pair = tuple[Any, Any]
FACTOR = 3
HINT = "return its .items()"
YIELD = "or yield them"


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[
        UnconfinedSandbox,
        pytest.param(LinuxSandbox, marks=linux_only),
        pytest.param(WasmSandbox, marks=needs_guest),
    ],
)
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    box: Sandbox = request.param()
    await box.start()
    yield box
    await box.close()
    await box.close()


def add_up(key: Any, values: tuple[int, ...]) -> Iterable[Pair]:
    yield key, sum(values)


async def test_mapper_yields_pairs_sorted_by_key(sandbox: Sandbox) -> None:
    computed = await sandbox.run(map_work(count_words, [(1, "to be or"), (2, "not to be")]), LIMITS)
    assert pairs_of(computed) == [("be", 1), ("be", 1), ("not", 1), ("or", 1), ("to", 1), ("to", 1)]
    assert computed.log == b""


async def test_equal_keys_keep_the_order_of_the_rows(sandbox: Sandbox) -> None:
    computed = await sandbox.run(map_work(lambda key, value: [("k", key), ("k", value)], [(2, "x"), (1, "y")]), LIMITS)
    assert pairs_of(computed) == [("k", 2), ("k", "x"), ("k", 1), ("k", "y")]


async def test_combiner_gets_all_values_of_the_task_by_key(sandbox: Sandbox) -> None:
    seen = map_work(count_words, [(1, "to be or"), (2, "not to be")], combiner=add_up)
    assert pairs_of(await sandbox.run(seen, LIMITS)) == [("be", 2), ("not", 1), ("or", 1), ("to", 2)]


async def test_combiner_sees_keys_in_canonical_order_and_keeps_unequal_ones_apart(sandbox: Sandbox) -> None:
    calls: list[Any] = []

    def combine(key: Any, values: tuple[Any, ...]) -> list[Pair]:
        calls.append((key, values))
        return [(len(calls), [key, list(values)])]

    work = map_work(
        lambda _key, value: [(value, "v")], [(n, value) for n, value in enumerate([2, True, 1])], combiner=combine
    )
    assert pairs_of(await sandbox.run(work, LIMITS)) == [(1, [1, ["v"]]), (2, [2, ["v"]]), (3, [True, ["v"]])]


async def test_reducer_gets_a_tuple_and_all_its_pairs_are_kept(sandbox: Sandbox) -> None:
    def reduce(key: str, values: tuple[int, ...]) -> list[Pair]:
        return [("last", key), (key, [type(values).__name__, *values]), ("last", key * 2)]

    computed = await sandbox.run(reduce_work(reduce, [("b", [3, 1]), ("a", [2])]), LIMITS)
    assert pairs_of(computed) == [
        ("a", ["tuple", 2]),
        ("b", ["tuple", 3, 1]),
        *[("last", "b"), ("last", "bb"), ("last", "a"), ("last", "aa")],
    ]


async def test_functions_bring_closures_globals_and_imports(sandbox: Sandbox) -> None:
    offset = 10

    def helper(value: int) -> int:
        return FACTOR * value + offset

    def mapper(key: str, value: int) -> Iterable[Pair]:
        import statistics

        yield key, helper(value)
        yield "mean", statistics.mean([value, value + 2])

    assert pairs_of(await sandbox.run(map_work(mapper, [("k", 5)]), LIMITS)) == [("k", 25), ("mean", 6)]


@pytest.mark.parametrize("nothing", [lambda _key, _value: None, lambda _key, _value: (), lambda _key, _value: iter([])])
async def test_a_row_may_yield_nothing(sandbox: Sandbox, nothing: Callable[..., Any]) -> None:
    assert pairs_of(await sandbox.run(map_work(nothing, [(1, 1)]), LIMITS)) == []


async def test_no_rows(sandbox: Sandbox) -> None:
    assert pairs_of(await sandbox.run(map_work(count_words, []), LIMITS)) == []
    assert pairs_of(await sandbox.run(map_work(count_words, [], combiner=add_up), LIMITS)) == []
    assert pairs_of(await sandbox.run(reduce_work(add_up, []), LIMITS)) == []


async def test_values_of_every_kind_survive(sandbox: Sandbox) -> None:
    value = {"π": ["\ud800", b"\x00\xff", (1, 2.5), None, True, 1 << 80, float("inf")], "": {("t",): frozenset({1})}}
    assert pairs_of(await sandbox.run(map_work(lambda key, value: [(key, value)], [("日本", value)]), LIMITS)) == [
        ("日本", value)
    ]


# --- randomness -----------------------------------------------------------------------------------------------------


def draw(key: Any, _value: Any) -> Iterable[Pair]:
    yield key, [random.random(), random.getrandbits(70), random.randint(1, 10**9), random.gauss(0, 1)]


async def test_randomness_follows_from_seed_and_row(sandbox: Sandbox) -> None:
    both = pairs_of(await sandbox.run(map_work(draw, [("a", 0), ("b", 0)], seed=7), LIMITS))
    alone = pairs_of(await sandbox.run(map_work(draw, [("b", 1)], seed=7), LIMITS))
    other = pairs_of(await sandbox.run(map_work(draw, [("b", 1)], seed=8), LIMITS))
    reduced = pairs_of(await sandbox.run(reduce_work(draw, [("b", [1])], seed=7), LIMITS))
    assert both[1:] == alone
    draws = [both[0][1], alone[0][1], other[0][1], reduced[0][1]]
    assert len({number for row in draws for number in row}) == 16


class Held:
    """Is ``random.random`` itself once it has travelled: what a job has that imported the name alone."""

    def __reduce__(self) -> Any:
        return getattr, (random, "random")

    def __call__(self) -> float:
        raise AssertionError


async def test_randomness_is_the_same_by_whatever_way_it_is_reached(sandbox: Sandbox) -> None:
    held = Held()

    def mapper(key: str, way: str) -> Iterable[Pair]:
        if way == "by its state":
            random.setstate(random.getstate())
        yield key, [held(), random.random()] if way == "held first" else [random.random(), held()]

    ways = ("held first", "held last", "by its state")
    results = [pairs_of(await sandbox.run(map_work(mapper, [("k", way)]), LIMITS)) for way in ways]
    assert results[0] == results[1] == results[2]
    assert len(set(results[0][0][1])) == 2


async def test_a_job_may_seed_by_itself(sandbox: Sandbox) -> None:
    def mapper(key: int, value: Any) -> Iterable[Pair]:
        random.seed(262)
        yield key, random.random()

    expected = random.Random(262).random()
    assert pairs_of(await sandbox.run(map_work(mapper, [(1, 0), (2, 0)]), LIMITS)) == [(1, expected), (2, expected)]


# --- rounding -------------------------------------------------------------------------------------------------------


async def test_floats_are_rounded_if_asked_for_before_a_combiner_sees_them(sandbox: Sandbox) -> None:
    def mapper(key: str, value: float) -> Iterable[Pair]:
        yield value, (key, [value / 3, -0.0, 7, float("inf")])

    def gather(key: float, values: tuple[Any, ...]) -> Iterable[Pair]:
        yield key, [len(values), values[0], key / 3]

    rows = [("a", 0.3), ("b", 0.1 + 0.2)]
    exact = pairs_of(await sandbox.run(map_work(mapper, rows), LIMITS))
    assert [key for key, _ in exact] == [0.3, 0.30000000000000004]
    rounded = pairs_of(await sandbox.run(map_work(mapper, rows, round_floats=3), LIMITS))
    assert repr(rounded) == repr([(0.3, (name, [0.1, -0.0, 7, float("inf")])) for name in "ab"])
    combined = pairs_of(await sandbox.run(map_work(mapper, rows, combiner=gather, round_floats=12), LIMITS))
    assert combined == [(0.3, [2, ("a", [0.1, -0.0, 7, float("inf")]), 0.1])]


async def test_keys_that_rounding_makes_equal_are_reported_with_their_row(sandbox: Sandbox) -> None:
    def mapper(key: str, value: float) -> Iterable[Pair]:
        yield "good", {value: 1}
        yield key, {value: 1, 0.3: 2}

    computed = await sandbox.run(map_work(mapper, [("a", 0.5), ("b", 0.1 + 0.2)], round_floats=12), LIMITS)
    failure = failure_of(computed)
    assert (failure.function, failure.exception, failure.row) == ("mapper", "ValueNotEncodable", "'b'")
    assert "keys of a dict become equal when rounded to 12 digits" in computed.log.decode()


# --- failures -------------------------------------------------------------------------------------------------------


def divide(key: str, value: int) -> Iterable[Pair]:
    print("dividing by", value)
    yield key, 1 // value


async def test_an_exception_is_an_outcome(sandbox: Sandbox) -> None:
    computed = await sandbox.run(map_work(divide, [("fine", 1), ("wrong", 0)]), LIMITS)
    failure = failure_of(computed)
    assert (failure.function, failure.exception, failure.row) == ("mapper", "ZeroDivisionError", "'wrong'")
    line = divide.__code__.co_firstlineno + 2
    assert failure.frames == (("divide", line),)
    log = computed.log.decode()
    assert log.startswith("dividing by 1\ndividing by 0\nTraceback (most recent call last):\n")
    assert f'File "{__file__}", line {line}, in divide' in log
    assert log.endswith("ZeroDivisionError: integer division or modulo by zero\n")
    assert "ec262" not in log.replace(__file__, "")


async def test_a_failure_is_the_same_every_time(sandbox: Sandbox) -> None:
    work = map_work(divide, [("wrong", 0)])
    assert len({(await sandbox.run(work, LIMITS)).outcome for _ in range(3)}) == 1


async def test_the_combiners_and_the_reducers_failures_name_them(sandbox: Sandbox) -> None:
    def refuse(key: str, values: Any) -> None:
        raise LookupError(key)

    combined = failure_of(await sandbox.run(map_work(count_words, [(1, "word")], combiner=refuse), LIMITS))
    reduced = failure_of(await sandbox.run(reduce_work(refuse, [("word", [1])]), LIMITS))
    assert (combined.function, combined.exception, combined.row) == ("combiner", "LookupError", "'word'")
    assert (reduced.function, reduced.exception, reduced.row) == ("reducer", "LookupError", "'word'")


async def test_leaving_python_is_a_failure_of_the_job(sandbox: Sandbox) -> None:
    failure = failure_of(await sandbox.run(map_work(lambda _key, _value: sys.exit(3)), LIMITS))
    assert failure.exception == "SystemExit"


async def test_endless_recursion_is_a_failure_of_limited_size(sandbox: Sandbox) -> None:
    def recurse(key: Any, value: Any) -> Any:
        return recurse(key, value)

    failure = failure_of(await sandbox.run(map_work(recurse), LIMITS))
    assert failure.exception == "RecursionError"
    assert {name for name, _ in failure.frames} == {"recurse"}
    assert 1 < len(failure.frames) <= 32


class Stubborn(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


async def test_an_exception_that_cannot_be_printed_is_still_reported(sandbox: Sandbox) -> None:
    def mapper(_key: Any, _value: Any) -> None:
        raise Stubborn

    computed = await sandbox.run(map_work(mapper), LIMITS)
    assert failure_of(computed).exception.endswith("Stubborn")
    assert b"Stubborn" in computed.log


@pytest.mark.parametrize(
    ("yielded", "told"),
    [
        (5, "the mapper returned 5 (int) where an iterable of (key, value) pairs is needed"),
        ("ab", "the mapper returned 'ab' (str) where an iterable of (key, value) pairs is needed"),
        (
            {"a": 1},
            "the mapper returned {'a': 1} (dict) where an iterable of (key, value) pairs is needed: " + HINT,
        ),
        (["ab"], "the mapper yielded 'ab' (str) where a (key, value) pair is needed"),
        ([(1, 2, 3)], "the mapper yielded (1, 2, 3) (tuple) where a (key, value) pair is needed"),
        (
            ("k", 1),
            "the mapper yielded 'k' (str) where a (key, value) pair is needed: return a list of pairs, " + YIELD,
        ),
    ],
)
async def test_a_result_that_is_not_a_pair_is_reported(sandbox: Sandbox, yielded: Any, told: str) -> None:
    def mapper(_key: str, value: Any) -> Any:
        return value

    computed = await sandbox.run(map_work(mapper, [("k", yielded)]), LIMITS)
    failure = failure_of(computed)
    assert (failure.function, failure.exception, failure.row, failure.frames) == ("mapper", "TypeError", "'k'", ())
    place = f"the function is at {__file__}, line {mapper.__code__.co_firstlineno}"
    assert computed.log.decode() == f"TypeError: {told}\n{place}\n"


@pytest.mark.parametrize("role", ["mapper", "combined mapper", "combiner", "reducer"])
async def test_the_end_of_an_iterator_is_an_error_like_any_other(sandbox: Sandbox, role: str) -> None:
    def nothing_found(_key: str, _value: Any) -> Any:
        return [next(iter(()))]

    rows = [("word", ["word"])]
    work = {
        "mapper": map_work(nothing_found, rows),
        "combined mapper": map_work(nothing_found, rows, combiner=add_up),
        "combiner": map_work(lambda key, value: [(key, value)], rows, combiner=nothing_found),
        "reducer": reduce_work(nothing_found, rows),
    }[role]
    computed = await sandbox.run(work, LIMITS)
    failure = failure_of(computed)
    assert failure.function == role.removeprefix("combined ")
    assert (failure.exception, failure.row) == ("StopIteration", "'word'")
    assert failure.frames == (("nothing_found", nothing_found.__code__.co_firstlineno + 1),)
    assert "in nothing_found" in computed.log.decode()


async def test_pairs_of_many_rows_are_combined_and_a_late_failure_is_reported(sandbox: Sandbox) -> None:
    def mapper(key: int, limit: int) -> Iterable[Pair]:
        for number in range(600):
            yield (number % 3 if key % 2 else "abc"[number % 3]), 1
        if key == limit:
            raise KeyError(key)

    def gather(key: Any, values: Any) -> Iterable[Pair]:
        yield key, len(values)

    whole = await sandbox.run(map_work(mapper, [(key, -1) for key in range(10)], combiner=gather), LIMITS)
    assert pairs_of(whole) == [("a", 1000), ("b", 1000), ("c", 1000), (0, 1000), (1, 1000), (2, 1000)]
    failure = failure_of(await sandbox.run(map_work(mapper, [(key, 7) for key in range(10)], combiner=gather), LIMITS))
    assert (failure.function, failure.exception, failure.row) == ("mapper", "KeyError", "7")


async def test_a_value_without_canonical_form_is_reported_with_key_and_row(sandbox: Sandbox) -> None:
    work = map_work(lambda key, _value: [("good", 1), ("bad", object())] if key == 2 else [], [(1, 0), (2, 0), (3, 0)])
    computed = await sandbox.run(work, LIMITS)
    failure = failure_of(computed)
    assert (failure.function, failure.exception, failure.row) == ("mapper", "ValueNotEncodable", "2")
    assert "the mapper yielded the key 'bad' with a value that has no canonical form" in computed.log.decode()


@pytest.mark.parametrize("combiner", [None, add_up])
async def test_a_key_without_canonical_form_is_reported(sandbox: Sandbox, combiner: Callable[..., Any] | None) -> None:
    computed = await sandbox.run(map_work(lambda _key, _value: [(object(), 1)], [("k", 0)], combiner=combiner), LIMITS)
    assert (failure_of(computed).function, failure_of(computed).row) == ("mapper", "'k'")
    assert "the mapper yielded a key that has no canonical form" in computed.log.decode()


async def test_a_value_that_holds_itself(sandbox: Sandbox) -> None:
    def mapper(key: str, _value: Any) -> Iterable[Pair]:
        loop: list[Any] = []
        loop.append(loop)
        yield key, loop

    assert failure_of(await sandbox.run(map_work(mapper), LIMITS)).exception == "ValueNotEncodable"


async def test_long_keys_are_cut(sandbox: Sandbox) -> None:
    failures = [failure_of(await sandbox.run(map_work(divide, [(key, 0)]), LIMITS)) for key in ("x" * 10_000, 7**9_000)]
    assert [failure.row for failure in failures] == ["'" + "x" * 199 + "...", "<int>"]


@pytest.mark.parametrize(
    ("functions", "exception"),
    [
        (pickled(mapper=count_words)[:-20], "_pickle.UnpicklingError"),
        (b"", "EOFError"),
        (pickle.dumps([1]), "JobDefinitionError"),
        (pickle.dumps({}), "JobDefinitionError"),
        (pickle.dumps({"mapper": 1}), "JobDefinitionError"),
        (b"cno_such_module_262\nname\n.", "ModuleNotFoundError"),
    ],
)
async def test_functions_that_cannot_be_loaded(sandbox: Sandbox, functions: bytes, exception: str) -> None:
    work = Work(phase=Phase.MAP, functions=functions, rows=encoded([(1, 1)]), seed=0)
    failure = failure_of(await sandbox.run(work, LIMITS))
    assert (failure.function, failure.exception, failure.row, failure.frames) == ("job", exception, None, ())


@pytest.mark.parametrize("rows", [b"[[1]]", b"{}", b"[1]", b"nonsense", b"[[1,2],]"])
async def test_rows_that_are_none(sandbox: Sandbox, rows: bytes) -> None:
    work = Work(phase=Phase.MAP, functions=pickled(mapper=count_words), rows=rows, seed=0)
    assert failure_of(await sandbox.run(work, LIMITS)).exception == "NotCanonical"


# --- log and limits -------------------------------------------------------------------------------------------------


async def test_prints_go_to_the_log(sandbox: Sandbox) -> None:
    def mapper(key: str, value: str) -> Iterable[Pair]:
        print("out", value)
        print("err", file=sys.stderr)
        sys.stdout.write("no newline \ud800")
        yield key, value

    computed = await sandbox.run(map_work(mapper, [("k", "grüße")]), LIMITS)
    assert computed.log.decode() == "out grüße\nerr\nno newline \\ud800"


async def test_the_log_is_cut_and_a_traceback_is_not_pushed_out(sandbox: Sandbox) -> None:
    def mapper(key: str, value: int) -> Iterable[Pair]:
        for _ in range(1000):
            print("noise " * 10)
        yield key, 1 // value

    limits = Limits(log_bytes=2000)
    fine = await sandbox.run(map_work(mapper, [("k", 1)]), limits)
    failed = await sandbox.run(map_work(mapper, [("k", 0)]), limits)
    assert len(fine.log) == 2000
    assert fine.log.endswith(b"[the log is cut here]\n")
    assert len(failed.log) <= 2000
    assert b"[the log is cut here]\nTraceback" in failed.log
    assert failed.log.endswith(b"ZeroDivisionError: integer division or modulo by zero\n")


async def test_a_huge_traceback_loses_its_middle(sandbox: Sandbox) -> None:
    def mapper(_key: Any, _value: Any) -> None:
        raise ValueError("x" * 100_000 + " the end")

    log = (await sandbox.run(map_work(mapper), Limits(log_bytes=1000))).log
    assert len(log) == 500
    assert log.startswith(b"Traceback")
    assert log.endswith(b"the end\n")


async def test_a_job_may_close_its_output(sandbox: Sandbox) -> None:
    def mapper(key: Any, value: Any) -> Iterable[Pair]:
        print("before")
        sys.stdout.close()
        yield key, value

    computed = await sandbox.run(map_work(mapper, [(1, 2)]), LIMITS)
    assert pairs_of(computed) == [(1, 2)]
    assert computed.log == b"before\n"


async def test_output_limit(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxLimitExceeded, match=r"result of 10\d\d bytes where 500 are allowed") as caught:
        await sandbox.run(map_work(lambda key, value: [(key, "x" * value)], [("k", 1000)]), Limits(output_bytes=500))
    assert caught.value.limit == "output"


async def test_large_work_and_large_result(sandbox: Sandbox) -> None:
    rows = [(n, "x" * 100_000) for n in range(100)]
    computed = await sandbox.run(map_work(lambda key, value: [(key, value)], rows), LIMITS)
    assert dict(pairs_of(computed)) == dict(rows)


async def test_calls_may_overlap(sandbox: Sandbox) -> None:
    works = [map_work(lambda key, value: [(key, value * value)], [("n", n)]) for n in range(8)]
    results = await asyncio.gather(*(sandbox.run(work, LIMITS) for work in works))
    assert [pairs_of(result) for result in results] == [[("n", n * n)] for n in range(8)]
    await assert_serves(sandbox)
