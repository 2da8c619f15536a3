from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.postgres import PostgresServer

MAX_PROCESSES = 8
"""With more, the longest files and a PostgreSQL server for each process would take up what is gained."""

# Whether an example is slow says more about the machine, and who else is at work on it, than about the code.
settings.register_profile("ec262", deadline=None)
settings.load_profile("ec262")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Hook of pytest-xdist: three processes for two processors, because tests wait a lot. Where only files are named,
    starting more than pytest's own process takes longer than it saves."""
    if all(Path(argument.partition("::")[0]).is_file() for argument in config.args):
        return 0
    return min(len(os.sched_getaffinity(0)) * 3 // 2, MAX_PROCESSES)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of whole commands last: from their first on this process inherits orphans, which others do not
    reckon with. Where several processes run the tests, each gets them in this order (see CONTRIBUTING.md)."""
    items.sort(key=lambda item: "e2e" in item.path.parts)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server, started when the first test asks for it."""
    from tests.postgres import PostgresServer

    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a test's own PostgreSQL database, with the tables in it and nothing in these."""
    url = postgres_server.fresh_url()
    yield url
    postgres_server.drop(url)
