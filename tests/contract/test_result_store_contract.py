"""What every store of results must do, and what the one in files must do besides."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from ec262.adapters.files import file_result_store
from ec262.adapters.files.file_result_store import FileResultStore
from ec262.adapters.memory.result_store import MemoryResultStore
from ec262.domain.errors import ResultNotStored
from ec262.domain.ports.result_store import ResultStore, StoredResult
from tests.full_disk import files_up_to

TASK, OTHER = "task-0001", "task-0002"
CAPACITY_BYTES = 1000


def result(size_bytes: int = 100, fill: bytes = b"c") -> StoredResult:
    return StoredResult(ciphertext=fill * (size_bytes - 10), log=b"l" * 10)


@pytest.fixture(params=["memory", "file"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ResultStore]:
    stores: dict[str, ResultStore] = {
        "memory": MemoryResultStore(capacity_bytes=CAPACITY_BYTES),
        "file": FileResultStore(capacity_bytes=CAPACITY_BYTES, parent=tmp_path),
    }
    store = stores[request.param]
    yield store
    await store.close()


async def test_gives_back_what_was_put(store: ResultStore) -> None:
    await store.put(TASK, result(), forgotten_at=10.0)
    await store.put(OTHER, StoredResult(ciphertext=b"", log=b""), forgotten_at=10.0)
    assert await store.get(TASK) == result()
    assert await store.get(OTHER) == StoredResult(ciphertext=b"", log=b"")
    assert await store.get("task-0003") is None


async def test_a_later_result_of_a_task_takes_the_place_of_an_earlier_one(store: ResultStore) -> None:
    for size_bytes in (CAPACITY_BYTES, 20, CAPACITY_BYTES):
        await store.put(TASK, result(size_bytes), forgotten_at=10.0)
        assert await store.get(TASK) == result(size_bytes)


async def test_a_full_store_refuses_and_keeps_what_it_has(store: ResultStore) -> None:
    await store.put(TASK, result(600), forgotten_at=10.0)
    with pytest.raises(ResultNotStored, match="full"):
        await store.put(OTHER, result(401), forgotten_at=10.0)
    assert await store.get(OTHER) is None
    assert await store.get(TASK) == result(600)
    await store.put(OTHER, result(400), forgotten_at=10.0)


async def test_purging_drops_what_is_forgotten_and_makes_room(store: ResultStore) -> None:
    await store.put(TASK, result(600), forgotten_at=10.0)
    await store.put(OTHER, result(400), forgotten_at=11.0)
    await store.purge(9.9)
    assert await store.get(TASK) is not None
    await store.purge(10.0)
    assert await store.get(TASK) is None
    assert await store.get(OTHER) == result(400)
    await store.put(TASK, result(600), forgotten_at=12.0)


@pytest.mark.parametrize("task", ["", "../../etc/passwd", "/etc/passwd", "task.0001", "short", "x" * 65, "task-0001\n"])
async def test_only_task_ids_are_taken(store: ResultStore, task: str) -> None:
    with pytest.raises(ValueError, match="is not a task id"):
        await store.put(task, result(), forgotten_at=10.0)
    assert await store.get(task) is None


async def test_closing_drops_everything(store: ResultStore) -> None:
    await store.put(TASK, result(), forgotten_at=10.0)
    await store.close()
    await store.close()
    assert await store.get(TASK) is None


async def test_many_at_once(store: ResultStore) -> None:
    tasks = [f"task-{n:04}" for n in range(20)]
    await asyncio.gather(*(store.put(task, result(50, task[-1].encode()), forgotten_at=1.0) for task in tasks))
    found = await asyncio.gather(*(store.get(task) for task in tasks))
    assert found == [result(50, task[-1].encode()) for task in tasks]


# --- in files -------------------------------------------------------------------------------------------------------


def descriptors(folder: Path) -> list[Path]:
    """The files that this process has open there, with a name or without."""
    return [path for path in Path("/proc/self/fd").iterdir() if _target(path).is_relative_to(folder)]


def _target(link: Path) -> Path:
    with suppress(FileNotFoundError):  # the one that listed the others
        return link.readlink()
    return Path()


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def open_files(folder: Path) -> int:
    return len(descriptors(folder))


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[FileResultStore]:
    files = FileResultStore(capacity_bytes=CAPACITY_BYTES, parent=tmp_path)
    yield files
    await files.close()
    assert open_files(tmp_path) == 0


async def test_files_have_no_name_and_are_gone_with_what_is_in_them(files: FileResultStore, tmp_path: Path) -> None:
    await files.purge(0.0)
    assert open_files(tmp_path) == 0
    await files.put(TASK, result(), forgotten_at=10.0)
    await files.put(OTHER, result(), forgotten_at=11.0)
    assert (open_files(tmp_path), names(tmp_path)) == (2, [])
    await files.purge(10.0)
    assert open_files(tmp_path) == 1
    await files.put(OTHER, result(), forgotten_at=11.0)
    assert open_files(tmp_path) == 1
    await files.purge(11.0)
    assert open_files(tmp_path) == 0


async def test_small_results_share_files_that_are_few(tmp_path: Path) -> None:
    store = FileResultStore(capacity_bytes=100_000, parent=tmp_path)
    results = {f"task-{number:05}": result(100 + number % 7, b"%d" % (number % 10)) for number in range(900)}
    for number, (task, each) in enumerate(results.items()):
        await store.put(task, each, forgotten_at=float(number // 2))
    assert 50 < open_files(tmp_path) <= 65
    assert [await store.get(task) for task in results] == list(results.values())
    await store.purge(300.0)
    assert open_files(tmp_path) < 25
    assert [await store.get(task) for task in results] == [None] * 602 + list(results.values())[602:]
    await store.close()
    assert open_files(tmp_path) == 0


@pytest.mark.parametrize("kept_bytes", [40, 6300], ids=["beside what is forgotten", "alone"])
async def test_results_kept_long_take_up_only_their_own_room(tmp_path: Path, kept_bytes: int) -> None:
    store = FileResultStore(capacity_bytes=6400, parent=tmp_path)
    await store.put(TASK, result(50), forgotten_at=10.0)
    await store.put(OTHER, result(kept_bytes), forgotten_at=11.0)
    await store.purge(10.0)
    with pytest.raises(ResultNotStored, match="full"):
        await store.put(TASK, result(6401 - kept_bytes), forgotten_at=12.0)
    await store.put(TASK, result(6400 - kept_bytes), forgotten_at=12.0)
    assert [await store.get(OTHER), await store.get(TASK)] == [result(kept_bytes), result(6400 - kept_bytes)]
    await store.close()
    assert open_files(tmp_path) == 0


async def test_an_empty_result_keeps_no_room(tmp_path: Path) -> None:
    store = FileResultStore(capacity_bytes=6400, parent=tmp_path)
    await store.put(TASK, result(50), forgotten_at=10.0)
    await store.put(OTHER, StoredResult(ciphertext=b"", log=b""), forgotten_at=11.0)
    await store.purge(10.0)
    await store.put(TASK, result(6400), forgotten_at=12.0)
    assert [await store.get(OTHER), await store.get(TASK)] == [StoredResult(ciphertext=b"", log=b""), result(6400)]
    await store.close()


async def test_a_missing_folder_is_reported_to_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise FileNotFoundError(errno.ENOENT, "no usable temporary folder")

    monkeypatch.setattr(file_result_store, "place_for_large_files", nowhere)
    store = FileResultStore(capacity_bytes=1000)
    with pytest.raises(ResultNotStored, match="no usable temporary folder"):
        await store.put(TASK, result(), forgotten_at=10.0)
    await store.close()


async def test_a_broken_store_says_so_and_tells_the_volunteer_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = tmp_path / "missing"
    monkeypatch.setenv("TMPDIR", str(nowhere))
    with pytest.raises(ResultNotStored, match="No such file") as error:
        await FileResultStore(capacity_bytes=CAPACITY_BYTES).put(TASK, result(), forgotten_at=10.0)
    assert str(nowhere) not in str(error.value)  # which the foreman is told
    assert f"results cannot be kept in {nowhere}: No such file" in caplog.text


async def test_an_incomplete_result_is_not_a_result(tmp_path: Path) -> None:
    files = FileResultStore(capacity_bytes=1 << 20, parent=tmp_path)
    await files.put(TASK, result(1000), forgotten_at=10.0)
    with files_up_to(5000):
        for task in (OTHER, TASK):
            with pytest.raises(ResultNotStored, match="File too large"):
                await files.put(task, result(4500), forgotten_at=10.0)
    assert await files.get(OTHER) is None
    assert await files.get(TASK) == result(1000)
    await files.put(OTHER, result(4500), forgotten_at=10.0)
    assert await files.get(OTHER) == result(4500)
    await files.close()


async def test_a_file_that_cannot_be_written_at_all_is_closed_in_the_end(tmp_path: Path) -> None:
    files = FileResultStore(capacity_bytes=CAPACITY_BYTES, parent=tmp_path)
    with files_up_to(0), pytest.raises(ResultNotStored, match="File too large"):
        await files.put(TASK, result(), forgotten_at=10.0)
    await files.close()
    assert open_files(tmp_path) == 0


async def test_a_file_that_is_cut_short_holds_no_result(files: FileResultStore, tmp_path: Path) -> None:
    await files.put(TASK, result(), forgotten_at=10.0)
    [descriptor] = descriptors(tmp_path)
    os.truncate(descriptor, 50)
    assert await files.get(TASK) is None
    await files.purge(10.0)


async def test_a_put_that_is_cancelled_leaves_nothing_behind_after_closing(
    files: FileResultStore, tmp_path: Path
) -> None:
    putting = asyncio.create_task(files.put(TASK, result(), forgotten_at=10.0))
    await asyncio.sleep(0)
    putting.cancel()
    await asyncio.wait([putting])
    await files.close()
    assert open_files(tmp_path) == 0


async def test_a_full_store_drops_what_can_be_spared_and_nothing_else(store: ResultStore) -> None:
    first, second, third = "task-0011", "task-0012", "task-0013"
    for task in (first, second, third):
        await store.put(task, result(300), forgotten_at=10.0)
    await store.spare(second)
    await store.spare(first)
    await store.spare("task-0099")
    assert await store.get(second) == result(300)
    with pytest.raises(ResultNotStored, match="full"):
        await store.put(TASK, result(701), forgotten_at=10.0)  # nothing is dropped in vain
    assert await store.get(second) == result(300)
    await store.put(TASK, result(400), forgotten_at=10.0)
    assert [await store.get(task) is None for task in (first, second, third)] == [False, True, False]
    await store.put(OTHER, result(300), forgotten_at=10.0)
    assert [await store.get(task) is None for task in (first, third, TASK)] == [True, False, False]


async def test_replaced_results_are_not_spared(store: ResultStore) -> None:
    await store.put(TASK, result(600), forgotten_at=10.0)
    await store.spare(TASK)
    await store.put(TASK, result(600), forgotten_at=10.0)
    with pytest.raises(ResultNotStored, match="full"):
        await store.put(OTHER, result(500), forgotten_at=10.0)
    assert await store.get(TASK) == result(600)
