"""What is tested here lives in memory: its waits are in virtual time, whatever else the machine does."""

from tests.virtual_time import pytest_asyncio_loop_factories

__all__ = ["pytest_asyncio_loop_factories"]
