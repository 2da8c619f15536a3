"""Functions travel by value, with what they use; what cannot travel is named."""

from __future__ import annotations

import importlib
import pickle
import random
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import cloudpickle
import numpy
import pytest
import requests
from numpy import sqrt

from ec262.adapters.jobs.pickling import pickle_by_value, pickle_functions
from ec262.domain.errors import FunctionNotPicklable
from tests.elsewhere import run_elsewhere

LOCK = threading.Lock()


def reducer(key: Any, values: tuple[Any, ...]) -> Iterator[tuple[Any, Any]]:
    yield key, len(values)


def functions(mapper: Any) -> dict[str, Any]:
    return {"mapper": mapper, "reducer": reducer, "combiner": None}


@pytest.fixture
def sibling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module beside the job's file, with a helper in another one."""
    (tmp_path / "job_helper.py").write_text("import job_deeper\ndef shout(text):\n    return job_deeper.up(text)\n")
    (tmp_path / "job_deeper.py").write_text("def up(text):\n    return text.upper()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import job_helper  # type: ignore[import-not-found]  # written above

    yield job_helper
    for name in ("job_helper", "job_deeper"):
        del sys.modules[name]


def test_globals_closures_and_sibling_modules_travel_along(sibling: ModuleType, tmp_path: Path) -> None:
    factor = 3

    def mapper(key: int, text: str) -> Iterator[tuple[str, int]]:
        for word in text.split():
            yield sibling.shout(word), key * factor

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    pickled = pickle_functions(functions(mapper))
    assert run_elsewhere(pickled.data, elsewhere) == [["A", 3], ["B", 3]]
    assert pickled.packages == ()


class Slow:
    """Takes its time to be pickled."""

    def __init__(self, begun: threading.Event, other: threading.Event, wait_s: float) -> None:
        self.begun, self.other, self.wait_s = begun, other, wait_s

    def __reduce__(self) -> tuple[type[int], tuple[()]]:
        self.begun.set()
        self.other.wait(self.wait_s)
        return int, ()


def test_one_threads_pickle_does_not_take_a_module_from_anothers(sibling: ModuleType, tmp_path: Path) -> None:
    first_begun, first_ended, second_begun = threading.Event(), threading.Event(), threading.Event()
    while_the_other_waits = Slow(first_begun, second_begun, 0.5)
    until_the_other_ends = Slow(second_begun, first_ended, 20)

    def pickle_the_first() -> None:
        pickle_functions(functions(lambda key, text: [(while_the_other_waits, sibling.shout(text))]))
        first_ended.set()

    thread = threading.Thread(target=pickle_the_first)
    thread.start()
    first_begun.wait()
    second = functions(lambda key, text: [(until_the_other_ends, sibling.shout(text))])
    data = pickle_functions(second).data
    thread.join()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert run_elsewhere(data, elsewhere) == [[0, "A B"]]


def test_code_keeps_its_file_and_its_lines() -> None:
    def mapper(_key: int, text: str) -> Iterator[tuple[str, int]]:
        yield from ((word, 1 // 0) for word in text.split())

    loaded = pickle.loads(pickle_functions(functions(mapper)).data)["mapper"]
    with pytest.raises(ZeroDivisionError) as raised:
        list(loaded(1, "a"))
    first = mapper.__code__.co_firstlineno
    told = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(raised.tb)[1:]]
    assert told == [(__file__, first + 1)] * 2


def test_cloudpickles_encoding_of_code_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its releases differ in that: 3.1.3 leaves out the names of files."""

    def refuse(_code: Any) -> Any:
        raise AssertionError

    monkeypatch.setitem(cloudpickle.Pickler.dispatch_table.maps[0], CodeType, refuse)
    assert pickle_functions(functions(lambda key, value: [(key, value)])).data
    assert pickle_by_value({"mapper": reducer}, __name__)


def test_installed_packages_travel_by_name_and_are_listed() -> None:
    def mapper(_key: int, _text: str) -> Iterator[tuple[str, str]]:
        yield "quoted", str(requests.codes.ok)

    assert pickle_functions(functions(mapper)).packages == ("requests",)


def test_packages_imported_inside_functions_are_listed() -> None:
    def mapper(_key: int, _text: str) -> Iterator[tuple[str, float]]:
        from numpy import linalg

        yield "norm", float(linalg.norm([1, 2]))

    assert pickle_functions(functions(mapper)).packages == ("numpy",)


INVERSE = numpy.linalg.inv
ARRAY = numpy.ones(3)
NUMBER = numpy.float64(2.5)
STATUS = requests.codes


@pytest.mark.parametrize(
    ("mapper", "packages"),
    [
        (lambda key, value: [(key, sqrt(value))], ("numpy",)),
        (lambda key, value: [(key, INVERSE(value))], ("numpy",)),
        (lambda key, value: [(key, NUMBER + value)], ("numpy",)),
        (lambda key, value, array=ARRAY: [(key, array.sum())], ("numpy",)),
        (lambda key, value, nested=({"a": [STATUS, NUMBER]},): [(key, nested)], ("numpy", "requests")),
        (sqrt, ("numpy",)),
    ],
    ids=["function", "function of a submodule", "value", "default", "values in others", "the mapper itself"],
)
def test_everything_the_pickle_refers_to_is_listed(mapper: Any, packages: tuple[str, ...]) -> None:
    assert pickle_functions(functions(mapper)).packages == packages


def test_modules_that_only_the_job_can_import_are_named() -> None:
    with pytest.raises(FunctionNotPicklable, match=r"the global 'MARK' of type Mark, .* look for 'MARK' in 'tests\."):
        pickle_functions(functions(lambda key, value: [(key, value is MARK)]))
    with pytest.raises(FunctionNotPicklable, match=r"the global 'INNER' of type dict, .* look for 'MARK'"):
        pickle_functions(functions(lambda key, value: [(key, INNER)]))


class Mark:
    def __reduce__(self) -> str:
        return "MARK"


MARK = Mark()
INNER = {1: [MARK]}


def test_modules_that_exist_are_named_in_full() -> None:
    def mapper(key: int, value: str) -> Iterator[tuple[int, Any]]:
        import no_such_module_262.inner  # type: ignore[import-not-found]
        import requests.no_such_module_262  # type: ignore[import-not-found]
        from numpy import array, linalg, zeros

        yield key, (INVERSE, linalg, array, zeros, value, no_such_module_262, requests)

    pickled = pickle_functions({"mapper": mapper})
    assert pickled.packages == ("no_such_module_262", "numpy", "requests")
    assert pickled.modules == ("numpy", "numpy.linalg", "requests")
    assert pickle_functions({"mapper": INVERSE}).modules == ("numpy", "numpy.linalg")


def test_the_standard_library_needs_no_package() -> None:
    def mapper(_key: int, text: str) -> Iterator[tuple[str, int]]:
        import json as inner

        yield inner.dumps(text), 1

    assert pickle_functions(functions(mapper)).packages == ()


def test_the_global_generator_travels_by_name() -> None:
    draw = random.random

    def mapper(key: int, _text: str) -> Iterator[tuple[int, float]]:
        yield key, draw()

    loaded = pickle.loads(pickle_functions(functions(mapper)).data)["mapper"]
    random.seed(7)
    expected = random.random()
    random.seed(7)
    assert list(loaded(1, "")) == [(1, expected)]


def test_an_object_that_cannot_be_pickled_is_named_with_its_function() -> None:
    def mapper(key: int, _text: str) -> Iterator[tuple[int, bool]]:
        yield key, LOCK.locked()

    with pytest.raises(FunctionNotPicklable, match=r"the mapper \(test_pickling.py:\d+\) uses the global 'LOCK'"):
        pickle_functions(functions(mapper))


def test_values_held_by_a_closure_are_named() -> None:
    lock = threading.Lock()

    def mapper(key: int, _text: str) -> Iterator[tuple[int, bool]]:
        yield key, lock.locked()

    with pytest.raises(FunctionNotPicklable, match="variable 'lock' of type lock"):
        pickle_functions(functions(mapper))


def test_a_default_that_cannot_travel_is_named() -> None:
    def mapper(key: int, _text: str, lock: Any = LOCK) -> Iterator[tuple[int, bool]]:
        yield key, lock is None

    with pytest.raises(FunctionNotPicklable, match="default of 'lock'"):
        pickle_functions(functions(mapper))


def test_an_import_of_the_jobs_own_module_inside_a_function_is_refused(sibling: ModuleType) -> None:
    assert sibling

    def mapper(_key: int, text: str) -> Iterator[tuple[str, int]]:
        import job_helper  # written by the fixture

        yield job_helper.shout(text), 1

    with pytest.raises(FunctionNotPicklable, match="imports 'job_helper' when it runs"):
        pickle_functions(functions(mapper))


def test_an_own_module_that_is_not_loaded_yet_is_refused_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "job_later.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))

    def mapper(_key: int, text: str) -> Iterator[tuple[str, str]]:
        import job_later  # type: ignore[import-not-found]  # written above

        yield text, job_later.__name__

    with pytest.raises(FunctionNotPicklable, match="imports 'job_later' when it runs"):
        pickle_functions(functions(mapper))


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("from . import consts", r"imports '\.consts' when it runs"),
        ("from .consts import K", r"imports '\.consts' when it runs"),
        ("from .. import job_package", r"imports '\.\.job_package' when it runs"),
    ],
)
def test_a_relative_import_inside_a_function_is_refused(
    statement: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "job_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "consts.py").write_text("K = 1\n")
    (package / "steps.py").write_text(f"def step(key, value):\n    {statement}\n    yield key, value\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        steps = importlib.import_module("job_package.steps")
        with pytest.raises(FunctionNotPicklable, match=told):
            pickle_functions(functions(steps.step))
        with pytest.raises(FunctionNotPicklable, match=told):
            pickle_functions(functions(lambda key, value: [*steps.step(key, value)]))
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "job_package"]:
            del sys.modules[name]


def test_a_namespace_package_is_installed_if_its_folder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("site-packages", "project"):
        module = tmp_path / folder / f"space_of_{folder[:4]}" / "things.py"
        module.parent.mkdir(parents=True)
        module.write_text("def shout(key, text):\n    yield key, text\n")
        monkeypatch.syspath_prepend(str(tmp_path / folder))
    monkeypatch.setattr("ec262.adapters.jobs.own_modules._INSTALLED", (tmp_path / "site-packages",))
    packages = []
    for name in ("space_of_site", "space_of_proj"):
        things = importlib.import_module(f"{name}.things")
        packages.append(pickle_functions({"mapper": things.shout}).packages)
        del sys.modules[name], sys.modules[f"{name}.things"]
    assert packages == [("space_of_site",), ()]


def test_too_much_luggage_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ec262.adapters.jobs.pickling.MAX_FUNCTIONS_BYTES", 1 << 20)
    table = bytes(2 << 20)

    def mapper(key: int, _text: str) -> Iterator[tuple[int, int]]:
        yield key, len(table)

    with pytest.raises(FunctionNotPicklable, match="2 MiB with what they refer to, 1 MiB is the most"):
        pickle_functions(functions(mapper))


def test_no_module_stays_registered(sibling: ModuleType) -> None:
    before = set(cloudpickle.list_registry_pickle_by_value())
    pickle_functions(functions(sibling.shout))
    assert set(cloudpickle.list_registry_pickle_by_value()) == before
