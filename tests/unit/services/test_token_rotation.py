"""A token is replaced, whatever is lost on the way."""

from __future__ import annotations

import pytest

from ec262.adapters.memory.discovery import MemoryDiscovery
from ec262.domain.account_commands import AccountStatus
from ec262.domain.errors import DiscoveryUnavailable, NotAuthenticated
from ec262.services.token_rotation import replace_token
from tests.discovery_town import FOREMAN, Town, build_town

NEW = "new-token-" + "n" * 40


class LosesReplies(MemoryDiscovery):
    """What it is told arrives; the answer does not."""

    async def replace_token(self, token: str) -> None:
        await super().replace_token(token)
        raise DiscoveryUnavailable("the reply is lost")


def client(town: Town, token: str) -> MemoryDiscovery:
    return MemoryDiscovery(town.service, token=token)


def account_of(town: Town, token: str) -> AccountStatus:
    return town.service.accounts.status(token)


async def test_the_new_token_opens_the_account_and_the_old_one_nothing() -> None:
    town = build_town()
    before = account_of(town, FOREMAN)
    await replace_token(client(town, FOREMAN), client(town, NEW), NEW)
    assert account_of(town, NEW) == before
    with pytest.raises(NotAuthenticated):
        account_of(town, FOREMAN)


async def test_a_lost_reply_loses_nothing() -> None:
    town = build_town()
    before = account_of(town, FOREMAN)
    with pytest.raises(DiscoveryUnavailable):
        await replace_token(LosesReplies(town.service, token=FOREMAN), client(town, NEW), NEW)
    for _ in range(2):
        await replace_token(client(town, FOREMAN), client(town, NEW), NEW)
        assert account_of(town, NEW) == before


async def test_a_token_that_opens_nothing_is_told() -> None:
    town = build_town()
    with pytest.raises(NotAuthenticated):
        await replace_token(client(town, "stranger-" + "x" * 40), client(town, NEW), NEW)
