from __future__ import annotations

from typing import Any

import attrs
import pytest

from ec262.domain.work.runtime import PythonTag, RuntimeClass

TAG = PythonTag(implementation="cpython", magic=3495, cloudpickle="3.1", version="3.11")


def test_a_tag_is_described_for_people() -> None:
    assert str(TAG) == "cpython 3.11 (magic 3495, cloudpickle 3.1)"


def test_tags_differ_exactly_where_pickles_would_not_load() -> None:
    assert attrs.evolve(TAG, version="3.11.9") == TAG
    assert attrs.evolve(TAG, magic=3531) != TAG
    assert attrs.evolve(TAG, implementation="pypy") != TAG
    assert attrs.evolve(TAG, cloudpickle="3.2") != TAG


@pytest.mark.parametrize(
    "change",
    [
        {"magic": -1},
        {"magic": 1 << 16},
        {"implementation": ""},
        {"cloudpickle": "x" * 65},
        {"version": 3.11},
        {"version": "3.11\x1b[2J"},
        {"version": "3.11\n"},
        {"implementation": "c python"},
    ],
)
def test_a_tag_has_limits(change: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        attrs.evolve(TAG, **change)


def test_results_are_comparable_only_if_all_is_equal() -> None:
    runtime = RuntimeClass(python=TAG, machine="x86_64", sandbox="linux", canonical_format=1)
    for change in ({"machine": "aarch64"}, {"sandbox": "wasm"}, {"canonical_format": 2}):
        assert attrs.evolve(runtime, **change) != runtime
    with pytest.raises(ValueError, match="'machine' must match"):
        attrs.evolve(runtime, machine="x86\x07")
    with pytest.raises(ValueError, match="'sandbox' must match"):
        attrs.evolve(runtime, sandbox="\u202exunil")
    with pytest.raises(ValueError, match="canonical_format"):
        attrs.evolve(runtime, canonical_format=0)
