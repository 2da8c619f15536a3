from collections.abc import Iterator
from pathlib import Path

import pytest

from ec262.adapters.memory.unit_of_work import MemoryStore
from ec262.adapters.sql.sql_unit_of_work import SqlDatabase
from ec262.domain.discovery.unit_of_work import UnitOfWorkFactory


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def ways_in(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[UnitOfWorkFactory]]:
    """The ways into one storage: two, as if two processes had it open."""
    if request.param == "memory":
        yield [MemoryStore().unit_of_work] * 2
        return
    url = f"sqlite:///{tmp_path / 'discovery.sqlite'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    databases = [SqlDatabase(url), SqlDatabase(url)]
    yield [database.unit_of_work for database in databases]
    for database in databases:
        database.close()


@pytest.fixture
def unit_of_work(ways_in: list[UnitOfWorkFactory]) -> UnitOfWorkFactory:
    return ways_in[0]
