"""``python -m ec262.entrypoints.account``: shows and manages the holder's own account.

Exit status: 0 done, 1 discovery refused or did not answer, 2 wrong usage or no such account here, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from ec262.domain.errors import AccountFrozen, ConfigurationError, DiscoveryUnavailable, Ec262Error, NotAuthenticated
from ec262.entrypoints.shared.command import complain, run, tell

if TYPE_CHECKING:
    from ec262.adapters.discovery_client.http_discovery import HttpDiscovery
    from ec262.domain.protocol.account_calls import AccountStatus, HistoryEntry
    from ec262.entrypoints.account.account_holder import Holder

T = TypeVar("T")

LIMIT = 50
"""Movements that are shown by default."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return run(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    import asyncio

    import msgspec

    from ec262.entrypoints.shared.logs import configure_logging

    arguments = _parser().parse_args(argv, argparse.Namespace(json=False, role=""))
    configure_logging(arguments)
    try:
        data, text = asyncio.run(COMMANDS[arguments.command](_holder(arguments), arguments))
    except ConfigurationError as error:
        complain(f"ec262: {error}")
        return 2
    except Ec262Error as error:
        complain(f"ec262: {error}")
        return 1
    tell(msgspec.json.encode(data).decode() if arguments.json else text)
    return 0


def _holder(arguments: argparse.Namespace) -> Holder:
    from ec262.entrypoints.account.account_holder import Holder
    from ec262.entrypoints.shared.discovery_client import credentials_folder
    from ec262.entrypoints.shared.settings import AccountSettings, load_settings

    settings = load_settings(AccountSettings, vars(arguments), os.environ)
    if settings.discovery is None:
        raise ConfigurationError("no discovery service is configured: give --discovery URL")
    return Holder(
        settings=settings,
        discovery=settings.discovery,
        folder=credentials_folder(settings),
        role=arguments.role or "foreman",
    )


Told = tuple[object, str]
"""The output of a subcommand, for programs and for people."""


async def _status(holder: Holder, arguments: argparse.Namespace) -> Told:
    """Show one account, or all accounts on this machine."""
    import attrs

    from ec262.adapters.files.credentials import roles_with_tokens
    from ec262.entrypoints.shared.tables import table, yes_no

    roles = [arguments.role] if arguments.role else roles_with_tokens(holder.folder, holder.discovery)
    if not roles:
        raise ConfigurationError(f"no account at {holder.discovery} is kept in {holder.folder}")
    found: list[tuple[str, AccountStatus]] = []
    for role in roles:
        each = attrs.evolve(holder, role=role)
        found.append((role, await _asked(each.client(each.settled_token()), lambda client: client.account())))
    rows = [
        (role, its.account, its.credits, its.escrow, its.open_tasks, its.reports, yes_no(its.frozen))
        for role, its in found
    ]
    heads = ("role", "account", "credits", "escrow", "open tasks", "reports", "frozen")
    return [{"role": role, **attrs.asdict(its)} for role, its in found], table(heads, rows)


async def _history(holder: Holder, arguments: argparse.Namespace) -> Told:
    """Show the movements of the account's credits."""
    from ec262.domain.protocol.account_calls import MAX_HISTORY, HistoryQuery
    from ec262.entrypoints.shared.tables import history_table

    async def read(client: HttpDiscovery) -> list[HistoryEntry]:
        entries: list[HistoryEntry] = []
        while len(entries) < arguments.limit:
            before = entries[-1].position if entries else None
            wanted = min(MAX_HISTORY, arguments.limit - len(entries))
            page = await client.history(HistoryQuery(before=before, limit=wanted))
            entries += page.entries
            if not page.more or not page.entries:
                break
        return entries

    entries = await _asked(holder.client(holder.settled_token()), read)
    return entries, history_table(entries)


async def _rotate(holder: Holder, _arguments: argparse.Namespace) -> Told:
    """Replace the token, or finish an interrupted attempt: with the same new token, the call can be repeated."""
    tokens = holder.tokens
    client, new_token = holder.client(tokens.load()), tokens.prepare()
    try:
        await _asked(client, lambda client: client.replace_token(new_token))
    except (NotAuthenticated, AccountFrozen):  # the new token was never accepted
        tokens.discard_replacement()
        raise
    except DiscoveryUnavailable as error:
        raise DiscoveryUnavailable(f"{error}; run this command again: it is unclear which token is active") from error
    tokens.replace()
    return {"role": holder.role}, "token replaced: restart everything that uses the old one"


async def _close(holder: Holder, arguments: argparse.Namespace) -> Told:
    """Revoke the token and delete it from disk."""
    client = holder.client(holder.settled_token())

    async def close(client: HttpDiscovery) -> AccountStatus:
        status = await client.account()
        if status.credits + status.escrow and not arguments.yes:
            raise ConfigurationError(
                f"account {status.account} has {status.credits} credits and {status.escrow} in escrow, "
                "which would be lost: give --yes to close it anyway"
            )
        with suppress(NotAuthenticated):  # closed by an attempt whose reply was lost
            await client.close_account()
        return status

    status = await _asked(client, close)
    holder.tokens.remove()
    return status, f"account {status.account} is closed"


async def _asked(client: HttpDiscovery, ask: Callable[[HttpDiscovery], Awaitable[T]]) -> T:
    try:
        return await ask(client)
    finally:
        await client.close()


COMMANDS: dict[str, Callable[[Holder, argparse.Namespace], Coroutine[Any, Any, Told]]] = {
    "status": _status,
    "history": _history,
    "rotate": _rotate,
    "close": _close,
}


def _parser() -> argparse.ArgumentParser:
    from ec262.entrypoints.shared.logs import add_verbosity
    from ec262.version import __version__

    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    add = common.add_argument
    add("--discovery", metavar="URL", help="URL of the discovery service (or EC262_DISCOVERY)")
    add("--role", metavar="NAME", help="foreman or worker-PORT (default: foreman; for status: all)")
    add("--credentials", metavar="DIR", help="folder that holds account tokens")
    add(
        "--discovery-ca",
        metavar="FILE",
        help="CA bundle used to verify discovery's certificate (PEM; default: public CAs)",
    )
    add("--patience", type=float, metavar="S", help="seconds to wait for discovery (default: 60)")
    add("--config", metavar="FILE", help="settings file (TOML)")
    add("--json", action="store_true", help="print JSON")
    parser = argparse.ArgumentParser(
        prog="ec262 account",
        description="Show your account at a discovery service and its history, or replace or revoke its token.",
        parents=[common],
    )
    add_verbosity(parser)
    parser.add_argument("--version", action="version", version=f"ec262 {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, purpose: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=purpose, description=f"{purpose}.", parents=[common])

    command("status", "show the credits and the state of the accounts on this machine")
    history = command("history", "show and explain every movement of credits, newest first")
    history.add_argument(
        "--limit", type=int, default=LIMIT, metavar="N", help="movements to show (default: %(default)s)"
    )
    command("rotate", "replace an account's token with a new one")
    close = command("close", "revoke an account's token permanently")
    close.add_argument("--yes", action="store_true", help="close the account even if credits are lost")
    return parser


if __name__ == "__main__":
    sys.exit(main())
