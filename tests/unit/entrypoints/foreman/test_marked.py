"""Which of the functions that decorators have marked make up a job."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import ec262
from ec262.domain.errors import JobDefinitionError
from ec262.entrypoints.foreman import api
from ec262.entrypoints.foreman.session import Session

ROLES = {"m": "mapper", "r": "reducer", "c": "combiner", "p": "partitioner"}


@pytest.fixture(autouse=True)
def _nothing_is_marked() -> Iterator[None]:
    api.marked.clear()
    yield
    api.marked.clear()


class Author:
    """Somebody who writes a module, piece by piece: ``m1`` is a mapper of this name, and so on."""

    def __init__(self, name: str = "jobs") -> None:
        self.namespace: dict[str, Any] = {"__name__": name, "ec262": ec262}

    def write(self, functions: str) -> None:
        for name in functions.split():
            exec(f"@ec262.{ROLES[name[0]]}\ndef {name}(*arguments): ...\n", self.namespace)  # noqa: S102 - test code

    def takes(self) -> str:
        return " ".join(function.__name__ for function in api.marked.take([self.namespace]).values())


def test_a_job_takes_what_its_module_has_marked_in_any_order_and_again() -> None:
    author = Author()
    author.write("c1 r1 m1 p1")
    assert author.takes() == "c1 r1 m1 p1"
    assert author.takes() == "c1 r1 m1 p1"


def test_a_decorator_returns_the_function() -> None:
    def function() -> None: ...

    for mark in (ec262.mapper, ec262.reducer, ec262.combiner, ec262.partitioner):
        assert mark(function) is function


def test_a_new_mapper_starts_the_next_jobs_set_and_no_combiner_or_partitioner_is_left() -> None:
    author = Author()
    author.write("m1 r1 c1 p1")
    assert author.takes() == "m1 r1 c1 p1"
    author.write("m2 r2")
    assert author.takes() == "m2 r2"


def test_a_set_that_no_job_took_is_replaced_as_well() -> None:
    author = Author()
    author.write("m1 r1 c1 m2 r2")
    assert author.takes() == "m2 r2"


def test_the_next_jobs_functions_may_stand_above_their_mapper() -> None:
    author = Author()
    author.write("p1 r1 m1")
    assert author.takes() == "p1 r1 m1"
    author.write("r2 c2 m2")
    assert author.takes() == "r2 c2 m2"


def test_a_module_that_is_loaded_again_marks_the_same_job_again() -> None:
    author = Author()
    author.write("c1 r1 m1")
    author.write("c1 r1 m1")
    assert author.takes() == "c1 r1 m1"


def test_a_reducer_alone_is_replaced() -> None:
    author = Author()
    author.write("m1 r1")
    author.takes()
    author.write("r2")
    assert author.takes() == "m1 r2"


def test_an_old_reducer_is_not_taken_for_a_new_mapper() -> None:
    author = Author()
    author.write("m1 r1")
    author.takes()
    author.write("m2")
    with pytest.raises(JobDefinitionError, match=r"no reducer: the reducer r1 was marked before the mapper m2.*again"):
        author.takes()
    author.write("r1")
    assert author.takes() == "m2 r1"


@pytest.mark.parametrize("role", ["c", "p"])
def test_functions_that_may_belong_to_another_job_are_an_error(role: str) -> None:
    author = Author()
    author.write("m1 r1 c1")
    author.takes()
    author.write(f"{role}2 m2 r2")
    with pytest.raises(JobDefinitionError, match=rf"{role}2 was marked before the mapper m2.*mark the mapper first"):
        author.takes()


def test_each_module_has_its_own() -> None:
    first, second = Author("first"), Author("second")
    first.write("m1 r1")
    second.write("m2 r2 c2")
    assert first.takes() == "m1 r1"
    assert second.takes() == "m2 r2 c2"


def test_modules_of_one_name_are_distinguished() -> None:
    first, second = Author("test_it"), Author("test_it")
    first.write("m1 r1")
    second.write("m2 r2")
    assert first.takes() == "m1 r1"


def test_a_module_without_any_gets_those_of_the_only_one_that_has_some() -> None:
    beside = Author("beside")
    beside.write("m1 r1")
    assert Author().takes() == "m1 r1"


def test_nothing_is_chosen_among_several_modules() -> None:
    for name in ("first", "second"):
        Author(name).write("m1 r1")
    with pytest.raises(JobDefinitionError, match=r"first \(the mapper m1, the reducer r1\); second \("):
        Author().takes()


@pytest.mark.parametrize(
    ("ours", "theirs", "told"),
    [
        ("m1", "r2", "the mapper m1 in ours, the reducer r2 in theirs"),
        ("r1 c1", "m2 r2", "the reducer r1, the combiner c1 in ours, the mapper m2 in theirs"),
        ("m1 r1", "c2", "the combiner c2 in theirs"),
        ("m1 r1", "p2", "the partitioner p2 in theirs"),
    ],
)
def test_a_mixture_of_modules_is_an_error_that_names_them(ours: str, theirs: str, told: str) -> None:
    author = Author("ours")
    author.write(ours)
    Author("theirs").write(theirs)
    with pytest.raises(JobDefinitionError, match=f"marked in several modules: .*{told}"):
        author.takes()


# --- run_job --------------------------------------------------------------------------------------------------------


class Recording(Session):
    """Runs nothing, and keeps the names of the functions."""

    def __init__(self) -> None:
        super().__init__({}, {})
        self.ran: list[str] = []

    def run_job(self, _data: Any, functions: Any, _given: Any, *, quiet: bool = False) -> dict[Any, Any]:
        self.ran.append(" ".join(function.__name__ for function in functions.values() if function is not None))
        return {}


def run_in(author: Author, text: str) -> str:
    with Recording() as session:
        exec(text, author.namespace)  # noqa: S102 - test code
    return session.ran[-1]


def test_the_innermost_caller_with_marked_functions_decides() -> None:
    script, library, helper = Author("script"), Author("library"), Author("helper")
    script.write("m1 r1")
    library.write("m2 r2")
    for author in (library, helper):
        exec("def count(data): return ec262.run_job(data)", author.namespace)  # noqa: S102 - test code
    script.namespace |= {"library": library.namespace["count"], "helper": helper.namespace["count"]}
    assert run_in(script, "ec262.run_job({})") == "m1 r1"
    assert run_in(script, "library({})") == "m2 r2"
    assert run_in(script, "helper({})") == "m1 r1"


def test_an_import_below_the_decorators_takes_nothing_over() -> None:
    script = Author("__main__")
    script.write("m1 r1")
    text = "import ec262\n@ec262.mapper\ndef m2(): ...\n@ec262.reducer\n@ec262.combiner\ndef r2(): ...\n"
    module = ModuleType("has_a_job_of_its_own")
    exec(text, module.__dict__)  # noqa: S102 - test code
    sys.modules[module.__name__] = module
    try:
        assert run_in(script, "import has_a_job_of_its_own\nec262.run_job({})") == "m1 r1"
    finally:
        del sys.modules[module.__name__]


def test_functions_that_are_given_are_used_alone() -> None:
    author = Author()
    author.write("m1 r1 c1")
    assert run_in(author, "ec262.run_job({}, mapper=m1, reducer=r1)") == "m1 r1"
    assert run_in(author, "ec262.run_job({}, mapper=m1)") == "m1"
    assert run_in(author, "ec262.run_job({}, combiner=r1)") == "m1 r1 r1"
