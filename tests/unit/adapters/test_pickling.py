"""Functions travel by value, with what they use; what cannot travel is named."""

from __future__ import annotations

import json
import pickle
import random
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import cloudpickle
import pytest
import requests

from ec262.adapters.pickling import pickle_by_value, pickle_functions
from ec262.domain.errors import FunctionNotPicklable

LOCK = threading.Lock()


def reducer(key: Any, values: tuple[Any, ...]) -> Iterator[tuple[Any, Any]]:
    yield key, len(values)


def functions(mapper: Any) -> dict[str, Any]:
    return {"mapper": mapper, "reducer": reducer, "combiner": None}


def run_elsewhere(data: bytes, folder: Path) -> Any:
    """Load the functions in an interpreter that knows nothing of this one's modules, and map one row."""
    pickle = folder / "functions.pickle"
    pickle.write_bytes(data)
    code = (
        "import json, pickle, pathlib, sys;"
        "functions = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes());"
        "print(json.dumps([list(pair) for pair in functions['mapper'](1, 'a b')]))"
    )
    command = [sys.executable, "-P", "-c", code, str(pickle)]
    return json.loads(subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout)


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


def test_what_cloudpickle_makes_of_code_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its releases differ in that: 3.1.3 leaves out the names of files."""

    def refuse(_code: Any) -> Any:
        raise AssertionError

    monkeypatch.setitem(cloudpickle.Pickler.dispatch_table.maps[0], CodeType, refuse)
    assert pickle_functions(functions(lambda key, value: [(key, value)])).data
    assert pickle_by_value({"mapper": run_elsewhere}, __name__)


def test_installed_packages_travel_by_name_and_are_told() -> None:
    def mapper(_key: int, _text: str) -> Iterator[tuple[str, str]]:
        yield "quoted", str(requests.codes.ok)

    assert pickle_functions(functions(mapper)).packages == ("requests",)


def test_packages_imported_inside_functions_are_told() -> None:
    def mapper(_key: int, _text: str) -> Iterator[tuple[str, float]]:
        from numpy import linalg

        yield "norm", float(linalg.norm([1, 2]))

    assert pickle_functions(functions(mapper)).packages == ("numpy",)


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


def test_what_cannot_travel_is_named_with_its_function() -> None:
    def mapper(key: int, _text: str) -> Iterator[tuple[int, bool]]:
        yield key, LOCK.locked()

    with pytest.raises(FunctionNotPicklable, match=r"the mapper \(test_pickling.py:\d+\) uses the global 'LOCK'"):
        pickle_functions(functions(mapper))


def test_what_a_closure_holds_is_named() -> None:
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


def test_too_much_luggage_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ec262.adapters.pickling.MAX_FUNCTIONS_BYTES", 1 << 20)
    table = bytes(2 << 20)

    def mapper(key: int, _text: str) -> Iterator[tuple[int, int]]:
        yield key, len(table)

    with pytest.raises(FunctionNotPicklable, match="2 MiB with what they refer to, 1 MiB is the most"):
        pickle_functions(functions(mapper))


def test_no_module_stays_registered(sibling: ModuleType) -> None:
    before = set(cloudpickle.list_registry_pickle_by_value())
    pickle_functions(functions(sibling.shout))
    assert set(cloudpickle.list_registry_pickle_by_value()) == before
