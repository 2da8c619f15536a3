"""``python -m ec262.entrypoints.discovery_admin``: administers a discovery service.

It works directly on the database, even while the service runs. Exit status: 0 done, 1 the command failed or the
audit found errors, 2 wrong usage or no such database, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from ec262.entrypoints.shared.command import run

LIMIT = 50
"""Movements of an account that are shown by default."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return run(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    from ec262.entrypoints.shared.logs import configure_logging

    arguments = _parser().parse_args(argv, argparse.Namespace(json=False))
    configure_logging(arguments)
    from ec262.entrypoints.discovery_admin.admin_command import run_command

    return run_command(arguments)


def _parser() -> argparse.ArgumentParser:
    from ec262.entrypoints.shared.logs import add_verbosity
    from ec262.version import __version__

    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--database", metavar="URL", help="discovery's database (default: a file in your data folder)")
    common.add_argument("--config", metavar="FILE", help="settings file (TOML)")
    common.add_argument("--json", action="store_true", help="print JSON")
    parser = argparse.ArgumentParser(
        prog="ec262 discovery-admin",
        description="Administer a discovery service directly in its database, even while it runs.",
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
    add("--id", metavar="NAME", help="name of this grant: repeating it grants nothing (default: a new name)")
    for name, purpose in (
        ("revoke", "revoke an account's token permanently"),
        ("freeze", "make an account read-only"),
        ("unfreeze", "make a frozen account usable again"),
    ):
        command(name, purpose)("account", metavar="ID")
    add = command("owner", "set the owner of an account")
    add("account", metavar="ID")
    add("owner", metavar="NAME", nargs="?", default="", help="default: the account is its own owner")
    add = command("anchor", "vouch for a worker: others gain reputation by agreeing with it")
    add("account", metavar="ID")
    add("--remove", action="store_true", help="stop vouching for it")
    command("anchors", "list the anchors")
    add = command("invite", "create an invitation and print its code")
    add("credits", type=_natural, metavar="CREDITS", help="credits for each account")
    add("--uses", type=_natural, default=1, metavar="N", help="accounts that may use it (default: 1)")
    add("--owner", default="", metavar="NAME", help="owner of these accounts")
    add("--days", type=float, metavar="N", help="days until it expires (default: never)")
    command("invitations", "list invitations")
    command("client-2012", "show a client of the 2012 API and its movements")("addr", metavar="ADDRESS")
    command("audit", "check the books")
    command("backup", "copy a SQLite database")("file", metavar="FILE")
    return parser


def _natural(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
