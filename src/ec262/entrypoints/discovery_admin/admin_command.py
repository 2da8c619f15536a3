"""The subcommands of ``discovery-admin``."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import msgspec

from ec262.adapters.sql.engine.sqlite_backup import back_up, sqlite_file, without_password
from ec262.domain.discovery.accounts import Invitation
from ec262.domain.discovery.reputation import Reputation
from ec262.domain.errors import ConfigurationError, Ec262Error, StorageDamaged
from ec262.domain.legacy_2012.addresses_2012 import canonical_addr
from ec262.entrypoints.discovery.bootstrap_discovery import (
    advice_on_damage,
    build_discovery_2012,
    build_discovery_admin,
    database_url,
    open_database,
)
from ec262.entrypoints.shared.command import complain, tell
from ec262.entrypoints.shared.settings import DiscoverySettings, load_settings
from ec262.entrypoints.shared.tables import count, date_time, history_table, table, yes_no
from ec262.services.discovery.administration import AccountView, DiscoveryAdmin

DAY_S = 24 * 3600.0


@attrs.frozen(kw_only=True)
class Answer:
    """The output of a subcommand: ``data`` for programs, ``text`` for people."""

    data: object
    text: str
    status: int = 0


def run_command(arguments: argparse.Namespace) -> int:
    """Run a subcommand; report errors on standard error; return the exit status. Raises OutputFailed."""
    try:
        settings = load_settings(DiscoverySettings, vars(arguments), os.environ)
        _require_database(settings)
        answer = DIRECT.get(arguments.command, _ask)(settings, arguments)
    except ConfigurationError as error:
        complain(f"ec262: {error}")
        return 2
    except StorageDamaged as error:
        complain(f"ec262: {advice_on_damage(error, settings)}")
        return 1
    except Ec262Error as error:
        complain(f"ec262: {error}")
        return 1
    tell(msgspec.json.encode(answer.data).decode() if arguments.json else answer.text)
    return answer.status


def _require_database(settings: DiscoverySettings) -> None:
    """Refuse to create a missing database: it would not be the one that discovery uses."""
    file = sqlite_file(database_url(settings))
    try:
        missing = file is not None and not file.exists()
    except OSError as error:
        raise ConfigurationError(f"cannot read the database {file}: {error.strerror}") from error
    if missing:
        raise ConfigurationError(f"there is no database {file}: name discovery's database with --database")


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
    reputations = admin.reputations(arguments.account)
    parts = [_account_table([view]), *([_reputation_table(reputations)] if reputations else []), history_table(entries)]
    return Answer(
        data={"account": view, "reputations": reputations, "history": entries},
        text="\n\n".join(parts),
    )


def _grant(admin: DiscoveryAdmin, arguments: argparse.Namespace) -> Answer:
    granted = admin.grant(arguments.account, arguments.credits, id=arguments.id)
    done = "already granted" if granted.repeated else f"granted {count(arguments.credits, 'credit')}"
    return Answer(data=granted, text=f"{done} (id {granted.id}): {granted.account} has {granted.credits}")


def _revoke(admin: DiscoveryAdmin, arguments: argparse.Namespace) -> Answer:
    admin.revoke(arguments.account)
    return _changed(admin, arguments, "its token is revoked")


def _freeze(admin: DiscoveryAdmin, arguments: argparse.Namespace) -> Answer:
    admin.freeze(arguments.account)
    return _changed(admin, arguments, "frozen: it is read-only")


def _unfreeze(admin: DiscoveryAdmin, arguments: argparse.Namespace) -> Answer:
    admin.unfreeze(arguments.account)
    return _changed(admin, arguments, "no longer frozen")


def _anchor(admin: DiscoveryAdmin, arguments: argparse.Namespace) -> Answer:
    if arguments.remove:
        admin.remove_anchor(arguments.account)
        return _changed(admin, arguments, "no longer an anchor")
    admin.add_anchor(arguments.account)
    return _changed(admin, arguments, "an anchor: others gain reputation by agreeing with it")


def _anchors(admin: DiscoveryAdmin, _arguments: argparse.Namespace) -> Answer:
    views = admin.anchors()
    return Answer(data=views, text=_account_table(views))


def _owner(admin: DiscoveryAdmin, arguments: argparse.Namespace) -> Answer:
    admin.set_owner(arguments.account, arguments.owner)
    return _changed(admin, arguments, f"belongs to {arguments.owner}" if arguments.owner else "is its own owner")


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
    hint = "Pass this code on now: it is not stored and cannot be shown again."
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
        return Answer(data=audit, text=f"the books are correct: {seen}, {count(audit.granted, 'credit')} granted")
    wrong = "\n".join(f"  {line}" for line in audit.findings)
    return Answer(data=audit, text=f"the books are wrong ({seen}):\n{wrong}", status=1)


def _backup(settings: DiscoverySettings, arguments: argparse.Namespace) -> Answer:
    url = database_url(settings)
    source = sqlite_file(url)
    if source is None:
        raise ConfigurationError(
            "back this database up with its own tool: "
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
        text=f"{record}\n\n{table(('time', 'change', 'reason', 'task'), rows)}",
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
    "anchor": _anchor,
    "anchors": _anchors,
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


def _reputation_table(reputations: Sequence[Reputation]) -> str:
    """Show a worker's reputation; see docs/operations.md."""
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
        for each in reputations
    ]
    return table(heads, rows)


def _invitation_data(invitation: Invitation) -> dict[str, object]:
    """Return an invitation's fields except the digest of its code."""
    return attrs.asdict(invitation, filter=attrs.filters.exclude("code_digest"))
