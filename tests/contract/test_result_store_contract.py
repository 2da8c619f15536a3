"""What every store of results must do, and what the one in files must do besides."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ec262.adapters.file_result_store import FileResultStore
from ec262.adapters.memory.result_store import MemoryResultStore
from ec262.domain.errors import ResultNotStored
from ec262.domain.ports.result_store import ResultStore, StoredResult

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
    with pytest.raises(ValueError, match="no task id"):
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


def entries(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[FileResultStore]:
    files = FileResultStore(capacity_bytes=CAPACITY_BYTES, parent=tmp_path)
    yield files
    await files.close()


async def test_the_folder_is_private_and_gone_in_the_end(files: FileResultStore, tmp_path: Path) -> None:
    assert entries(tmp_path) == []
    await files.purge(0.0)
    await files.put(TASK, result(), forgotten_at=10.0)
    [folder] = entries(tmp_path)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in entries(folder)] == [TASK]
    await files.close()
    assert entries(tmp_path) == []


async def test_a_broken_store_says_so(tmp_path: Path) -> None:
    nowhere = FileResultStore(capacity_bytes=CAPACITY_BYTES, parent=tmp_path / "missing")
    with pytest.raises(ResultNotStored, match="No such file"):
        await nowhere.put(TASK, result(), forgotten_at=10.0)


async def test_half_a_result_is_none(files: FileResultStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: Path, _target: Path) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(ResultNotStored, match="No space left"):
            await files.put(TASK, result(), forgotten_at=10.0)
    assert await files.get(TASK) is None
    [folder] = entries(tmp_path)
    assert entries(folder) == []


async def test_a_file_that_somebody_removed_is_no_result(files: FileResultStore, tmp_path: Path) -> None:
    await files.put(TASK, result(), forgotten_at=10.0)
    [folder] = entries(tmp_path)
    (folder / TASK).unlink()
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
    assert entries(tmp_path) == []
