"""The ``ec262`` command: the entry points as subcommands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from ec262.entrypoints.shared.command import complain, run, tell
from ec262.version import __version__

COMMANDS = {
    "foreman": "run a job",
    "worker": "lend this machine",
    "discovery": "run a discovery service",
    "discovery-admin": "administer a discovery service",
    "account": "show and manage your account at a discovery service",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; return its exit status."""
    return run(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments[0] if arguments else ""
    if command in COMMANDS:
        module = import_module(f"ec262.entrypoints.{command.replace('-', '_')}.__main__")
        status: int = module.main(arguments[1:])
        return status
    if command == "--version":
        tell(f"ec262 {__version__}")
        return 0
    wanted = command in {"-h", "--help"}
    if command and not wanted:
        complain(f"ec262: unknown command {command}")
    lines = "".join(f"\n  {name:15} {purpose}" for name, purpose in COMMANDS.items())
    (tell if wanted else complain)(f"usage: ec262 COMMAND ...\n{lines}\n\nRun ec262 COMMAND --help for details.")
    return 0 if wanted else 2


if __name__ == "__main__":
    sys.exit(main())
