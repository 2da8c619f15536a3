"""``python -m ec262.entrypoints.discovery_admin``: what the operator of a discovery service does to it.

It works on the database directly, also while the service runs. Exit status: 0 done, 1 it could not be done, or the
audit found something wrong, 2 wrong usage or no such database.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import msgspec

from ec262 import __version__
from ec262.adapters.sql.damage import with_advice
from ec262.adapters.sqlite_backup import back_up, sqlite_file, without_password
from ec262.domain.accounts import Invitation
from ec262.domain.api2012.addresses import canonical_addr
from ec262.domain.errors import ConfigurationError, Ec262Error, StorageDamaged
from ec262.domain.standing import Standing
from ec262.entrypoints.bootstrap_discovery import (
    build_discovery_2012,
    build_discovery_admin,
    database_url,
    open_database,
)
from ec262.entrypoints.logs import add_verbosity, configure_logging
from ec262.entrypoints.settings import DiscoverySettings, load_settings
from ec262.entrypoints.tables import count, date_time, history_table, table, yes_no
from ec262.services.discovery_admin import AccountView, DiscoveryAdmin

DAY_S = 24 * 3600.0
LIMIT = 50
"""Movements of an account that are shown, unless more are asked for."""


@attrs.frozen(kw_only=True)
class Answer:
    """What a subcommand has to say: ``data`` for programs, ``text`` for people."""

    data: object
    text: str
    status: int = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = _parser().parse_args(argv, argparse.Namespace(json=False))
    configure_logging(arguments)
    try:
        settings = load_settings(DiscoverySettings, vars(arguments), os.environ)
        _require_database(settings)
        answer = DIRECT.get(arguments.command, _ask)(settings, arguments)
    except ConfigurationError as error:
        print(f"ec262: {error}", file=sys.stderr)
        return 2
    except StorageDamaged as error:
        print(f"ec262: {with_advice(error, without_password(database_url(settings)))}", file=sys.stderr)
        return 1
    except Ec262Error as error:
        print(f"ec262: {error}", file=sys.stderr)
        return 1
    print(msgspec.json.encode(answer.data).decode() if arguments.json else answer.text)
    return answer.status


def _require_database(settings: DiscoverySettings) -> None:
    """Do not make a database where none is: it would be another one than discovery's."""
    file = sqlite_file(database_url(settings))
    if file is not None and not file.exists():
        raise ConfigurationError(f"there is no database {file}: name the one of your discovery with --database")


def _ask(settings: DiscoverySettings, arguments: argparse.Namespace) -> Answer:
    database = open_database(settings, create=False)
    try:
        if arguments.command == "audit":
            database.examine()
        admin = build_discovery_admin(unit_of_work=database.unit_of_work, snapshot=database.snapshot)
        return COMMANDS[arguments.command](admin, arguments)
    finally:
        database.close()


# --- subcommands ----------------------------------------------------------------------------------------------------


def _accounts(admin: DiscoveryAdmin, _arguments: argparse.Namespace) -> Answer:
    views = admin.accounts()
    return Answer(data=views, text=_account_table(views))


def _account(admin: DiscoveryAdmin, arguments: argparse.Namespace) -> Answer:
    view, entries = admin.account(arguments.account), admin.history(arguments.account, limit=arguments.limit)
    standings = admin.standings(arguments.account)
    parts = [_account_table([view]), *([_standing_table(standings)] if standings else []), history_table(entries)]
    return Answer(
        data={"account": view, "standings": standings, "history": entries},
        text="\n\n".join(parts),
    )


def _grant(admin: DiscoveryAdmin, arguments: argparse.Namespace) -> Answer:
    granted = admin.grant(arguments.account, arguments.credits, id=arguments.id)
    done = "was granted before" if granted.repeated else f"granted {count(arguments.credits, 'credit')}"
    return Answer(data=granted, text=f"{done} (id {granted.id}): {granted.account} has {granted.credits}")


def _revoke(admin: DiscoveryAdmin, arguments: argparse.Namespace) -> Answer:
    admin.revoke(arguments.account)
    return _changed(admin, arguments, "no token opens it any more")


def _freeze(admin: DiscoveryAdmin, arguments: argparse.Namespace) -> Answer:
    admin.freeze(arguments.account)
    return _changed(admin, arguments, "frozen: it may look, and nothing else")


def _unfreeze(admin: DiscoveryAdmin, arguments: argparse.Namespace) -> Answer:
    admin.unfreeze(arguments.account)
    return _changed(admin, arguments, "not frozen")


def _owner(admin: DiscoveryAdmin, arguments: argparse.Namespace) -> Answer:
    admin.set_owner(arguments.account, arguments.owner)
    return _changed(admin, arguments, f"belongs to {arguments.owner}" if arguments.owner else "belongs to itself")


def _changed(admin: DiscoveryAdmin, arguments: argparse.Namespace, text: str) -> Answer:
    view = admin.account(arguments.account)
    return Answer(data=view, text=f"{view.account}: {text}")


def _invite(admin: DiscoveryAdmin, arguments: argparse.Namespace) -> Answer:
    made = admin.invite(
        credits=arguments.credits,
        uses=arguments.uses,
        owner=arguments.owner,
        expires_in_s=None if arguments.days is None else arguments.days * DAY_S,
    )
    told = _invitation_data(made.invitation)
    hint = "Tell this code to those it is for, now: it is not kept, and nobody can look it up."
    return Answer(data={"code": made.code, **told}, text=f"{made.code}\n{hint}")


def _invitations(admin: DiscoveryAdmin, _arguments: argparse.Namespace) -> Answer:
    made = admin.invitations()
    rows = [(each.id, each.credits, each.uses_left, each.owner, date_time(each.expires_at)) for each in made]
    return Answer(
        data=list(map(_invitation_data, made)),
        text=table(("invitation", "credits", "uses left", "owner", "expires"), rows),
    )


def _audit(admin: DiscoveryAdmin, _arguments: argparse.Namespace) -> Answer:
    audit = admin.audit()
    seen = f"{count(audit.transfers, 'movement')} in {count(audit.accounts, 'ledger account')}"
    if not audit.findings:
        return Answer(data=audit, text=f"the books are right: {seen}, {count(audit.granted, 'credit')} granted")
    wrong = "\n".join(f"  {line}" for line in audit.findings)
    return Answer(data=audit, text=f"the books are wrong ({seen}):\n{wrong}", status=1)


def _backup(settings: DiscoverySettings, arguments: argparse.Namespace) -> Answer:
    url = database_url(settings)
    source = sqlite_file(url)
    if source is None:
        raise ConfigurationError(
            "this database is backed up by its own tool: "
            + shlex.join(["pg_dump", "--format=custom", f"--file={arguments.file}", without_password(url)])
        )
    size = back_up(source, Path(arguments.file))
    return Answer(data={"file": arguments.file, "bytes": size}, text=f"{arguments.file}: {size:,} bytes, checked")


def _client_2012(settings: DiscoverySettings, arguments: argparse.Namespace) -> Answer:
    database = open_database(settings, create=False)
    try:
        client, entries = build_discovery_2012(settings, database).history(canonical_addr(arguments.addr))
    finally:
        database.close()
    rows = [(date_time(each.at), f"{each.amount:+d}", each.reason.value, each.task or "") for each in entries]
    record = "\n".join(f"{name}: {value}" for name, value in client.record().items())
    return Answer(
        data={"client": client.record(), "history": entries},
        text=f"{record}\n\n{table(('time', 'change', 'what for', 'task'), rows)}",
    )


DIRECT: dict[str, Callable[[DiscoverySettings, argparse.Namespace], Answer]] = {
    "backup": _backup,
    "client-2012": _client_2012,
}

COMMANDS: dict[str, Callable[[DiscoveryAdmin, argparse.Namespace], Answer]] = {
    "accounts": _accounts,
    "account": _account,
    "grant": _grant,
    "revoke": _revoke,
    "freeze": _freeze,
    "unfreeze": _unfreeze,
    "owner": _owner,
    "invite": _invite,
    "invitations": _invitations,
    "audit": _audit,
}


def _account_table(views: Sequence[AccountView]) -> str:
    heads = ("account", "owner", "opened", "credits", "escrow", "open tasks", "reports", "frozen")
    rows = [
        (
            view.account,
            "" if view.owner == view.account else view.owner,
            date_time(view.opened_at),
            view.credits,
            view.escrow,
            view.open_tasks,
            view.reports,
            yes_no(view.frozen),
        )
        for view in views
    ]
    return table(heads, rows)


def _standing_table(standings: Sequence[Standing]) -> str:
    """Show what everybody knows of a worker; see docs/operations.md."""
    heads = ("runtime", "agreed", "dissented", "missed", "audited", "caught", "last task")
    rows = [
        (
            f"{each.runtime.machine} {each.runtime.sandbox}, bytecode {each.runtime.python.magic}",
            f"{each.agreed:.1f}",
            each.dissented,
            each.missed,
            each.audited,
            "" if each.caught_at is None else date_time(each.caught_at),
            date_time(each.as_of),
        )
        for each in standings
    ]
    return table(heads, rows)


def _invitation_data(invitation: Invitation) -> dict[str, object]:
    """Tell of an invitation without its code's digest."""
    return attrs.asdict(invitation, filter=attrs.filters.exclude("code_digest"))


# --- arguments ------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--database", metavar="URL", help="the database of discovery (default: this user's)")
    common.add_argument("--config", metavar="FILE", help="settings file (TOML)")
    common.add_argument("--json", action="store_true", help="answer in JSON")
    parser = argparse.ArgumentParser(
        prog="ec262 discovery-admin",
        description="Look after a discovery service, directly in its database, also while it runs.",
        parents=[common],
    )
    add_verbosity(parser)
    parser.add_argument("--version", action="version", version=f"ec262 {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, purpose: str) -> Callable[..., argparse.Action]:
        return commands.add_parser(name, help=purpose, description=f"{purpose}.", parents=[common]).add_argument

    command("accounts", "list all accounts")
    add = command("account", "show an account and its movements")
    add("account", metavar="ID")
    add("--limit", type=_natural, default=LIMIT, metavar="N", help="movements to show (default: %(default)s)")
    add = command("grant", "give credits to an account")
    add("account", metavar="ID")
    add("credits", type=_natural, metavar="CREDITS")
    add("--id", metavar="NAME", help="the same name again gives nothing (default: one that was never used)")
    for name, purpose in (
        ("revoke", "let no token open an account any more"),
        ("freeze", "let an account look, and nothing else"),
        ("unfreeze", "let a frozen account do all again"),
    ):
        command(name, purpose)("account", metavar="ID")
    add = command("owner", "say whose an account is")
    add("account", metavar="ID")
    add("owner", metavar="NAME", nargs="?", default="", help="without one, it belongs to itself")
    add = command("invite", "make an invitation, and tell its code")
    add("credits", type=_natural, metavar="CREDITS", help="for each account")
    add("--uses", type=_natural, default=1, metavar="N", help="accounts that may use it (default: 1)")
    add("--owner", default="", metavar="NAME", help="whose these accounts are")
    add("--days", type=float, metavar="N", help="until it runs out (default: never)")
    command("invitations", "list invitations")
    command("client-2012", "show a client of the 2012 API and its movements")("addr", metavar="ADDRESS")
    command("audit", "check the books")
    command("backup", "copy a SQLite database")("file", metavar="FILE")
    return parser


def _natural(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
