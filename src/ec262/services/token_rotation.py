"""Replacing the token of an account so that no lost reply and no crash can lose the account."""

from __future__ import annotations

from ec262.domain.errors import NotAuthenticated
from ec262.domain.ports.discovery import AccountDiscovery


async def replace_token(old: AccountDiscovery, new: AccountDiscovery, new_token: str) -> None:
    """Let ``new_token`` open the account that the client ``old`` is of, and nothing else any more.

    May be repeated with the same token, which must have been written down before the first time, however that ended.
    ``new`` is a client with the new token. Raises NotAuthenticated if neither token opens an account: then there is
    none to lose. After DiscoveryUnavailable nobody knows which of them does.
    """
    try:
        await old.replace_token(new_token)
    except NotAuthenticated:
        # Perhaps since an earlier attempt succeeded, and its reply was lost.
        await new.account()
