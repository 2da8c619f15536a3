from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest

from ec262.domain import errors
from ec262.domain.errors import (
    DiscoveryRefused,
    Ec262Error,
    InsufficientCredits,
    JobError,
    KeyCollision,
    PeerError,
    PurchaseTooExpensive,
    SandboxLimitExceeded,
    TaskAbandoned,
    TaskLimitExceeded,
    UserCodeFailed,
    ValueNotEncodable,
    key_text,
)

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_stands_in_the_tree_with_its_parent_above_it(kind: type[Exception]) -> None:
    assert issubclass(kind, Ec262Error)
    tree = errors.__doc__ or ""
    assert kind.__name__ in tree
    if kind is not Ec262Error:
        (parent,) = kind.__bases__
        assert tree.index(parent.__name__) < tree.index(kind.__name__)


def test_every_error_is_found_in_the_package_and_named_by_it() -> None:
    ours = [kind for kind in _with_subclasses(Ec262Error) if kind.__module__.startswith(errors.__name__)]
    assert set(ours) == set(CLASSES)
    assert {kind.__module__ for kind in ours} == {errors.__name__}


def _with_subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _with_subclasses(below)


def test_the_authors_mistakes_and_a_peers_misbehavior_are_different_branches() -> None:
    assert not [kind for kind in CLASSES if issubclass(kind, JobError) and issubclass(kind, PeerError)]


def test_each_refusal_has_a_code_of_its_own() -> None:
    refusals = [kind for kind in CLASSES if issubclass(kind, DiscoveryRefused)]
    assert len({kind.code for kind in refusals}) == len(refusals)


def test_texts_say_what_a_person_needs() -> None:
    assert str(ValueNotEncodable("no form", type_name="range", where="[1]")) == "no form (at [1])"
    assert str(ValueNotEncodable("no form", type_name="range")) == "no form"
    assert str(KeyCollision(1, 1.0)) == (
        "the keys 1 (int) and 1.0 (float) are equal in Python but are different values; use keys of one type"
    )
    for first, second, advice in [
        (-0.0, 0.0, "add 0 to such keys to turn -0.0 into 0.0"),
        (complex(0, -0.0), 0j, "add 0 to such keys to turn -0.0 into 0.0"),
        ((1, True), (1, 1), "use values of one type inside them, and 0.0 instead of -0.0"),
    ]:
        assert str(KeyCollision(first, second)).endswith(f"; {advice}")
    assert str(InsufficientCredits(have=2, need=9)) == "insufficient credits: have 2, need 9"
    assert str(InsufficientCredits(have=2, need=9, why="map")) == "insufficient credits: have 2, need 9 (map)"
    assert str(PurchaseTooExpensive(have=2, need=9)) == "insufficient credits: have 2, need 9"
    assert (
        str(TaskLimitExceeded(task="map task 1", limit="cpu", detail="5 s")) == "map task 1 exceeded its cpu limit: 5 s"
    )
    assert str(SandboxLimitExceeded("wall", "9 s")) == "wall limit exceeded: 9 s"
    abandoned = TaskAbandoned(task="map task 1", attempts=3, history=("w1: lost", "w2: late"))
    assert str(abandoned) == "map task 1 was bought 3 times and never won:\n  w1: lost\n  w2: late"


def test_errors_keep_their_fields() -> None:
    failed = UserCodeFailed(function="mapper", exception="ValueError", row="'a'", frames=(("f", 1),), report="tb")
    assert str(failed) == "the mapper raised ValueError at the row with key 'a'"
    assert (failed.function, failed.exception, failed.row) == ("mapper", "ValueError", "'a'")
    assert (failed.frames, failed.report) == ((("f", 1),), "tb")
    outside = UserCodeFailed(function="job", exception="ImportError", row=None, frames=(), report="")
    assert str(outside) == "the job raised ImportError"
    collision = KeyCollision("a", "b")
    assert (collision.first, collision.second) == ("a", "b")
    poor = InsufficientCredits(have=1, need=2, why="x")
    assert (poor.have, poor.need, poor.why) == (1, 2, "x")
    expensive = PurchaseTooExpensive(have=1, need=2)
    assert (expensive.have, expensive.need) == (1, 2)
    limit = TaskLimitExceeded(task="t", limit="cpu", detail="d")
    assert (limit.task, limit.limit, limit.detail) == ("t", "cpu", "d")
    exceeded = SandboxLimitExceeded("cpu", "d")
    assert (exceeded.limit, exceeded.detail) == ("cpu", "d")
    abandoned = TaskAbandoned(task="t", attempts=2, history=("h",))
    assert (abandoned.task, abandoned.attempts, abandoned.history) == ("t", 2, ("h",))


def test_keys_are_named_in_any_case() -> None:
    assert key_text("a") == "'a'"
    assert key_text("x" * 500) == "'" + "x" * 199 + "..."
    assert key_text(10**5000) == "<int>"
    assert key_text([1, 10**5000]) == "[1, <int>]"
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert key_text(deep) == "[" * 200 + "..."
    while deep:  # a list so deep is taken apart by hand, not by a destructor that recurses
        deep = deep.pop()  # type: ignore[assignment]  # every level is a list


@pytest.mark.parametrize(
    "key",
    [
        *(1, "it's", b"x", None, 1.5, 1j, (), (1,), (1, "a"), [], [1, [2]], set(), {1}, frozenset(), frozenset({(1,)})),
        *({}, {1: [2], "a": {"b": ()}}, bytearray(b"x"), 10**4000, ["a'"] * 300, [10**150, 10**150]),
    ],
)
def test_a_key_is_named_as_its_repr_begins(key: object) -> None:
    text = repr(key)
    assert key_text(key) == (text if len(text) <= 200 else f"{text[:200]}...")
