"""What every Spill does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ec262.adapters.files.file_spill import FileSpill
from ec262.adapters.memory.spill import MemorySpill
from ec262.domain.ports.spill import Spill


@pytest.fixture(params=["memory", "file"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Spill]:
    return MemorySpill if request.param == "memory" else lambda: FileSpill(tmp_path)


def test_appended_data_can_be_read_at_any_position(make: Callable[[], Spill]) -> None:
    spill = make()
    assert [spill.append(data) for data in (b"abc", b"", b"defg")] == [0, 3, 3]
    assert (spill.read(0, 7), spill.read(2, 4), spill.read(7, 7)) == (b"abcdefg", b"cd", b"")
    assert spill.append(b"h" * 10_000_000) == 7
    assert spill.read(6, 9_999_999) == b"g" + b"h" * 9_999_992
    spill.close()
    spill.close()


def test_spills_know_nothing_of_each_other(make: Callable[[], Spill]) -> None:
    first, second = make(), make()
    assert (first.append(b"first"), second.append(b"second")) == (0, 0)
    second.close()
    assert first.read(0, 5) == b"first"
    first.close()
