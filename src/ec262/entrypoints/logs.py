"""Logging as all commands do it: to standard error, warnings only unless asked for more."""

from __future__ import annotations

import argparse
import logging

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    """Add the flags of 2012: ``-v`` for INFO, ``-V`` for DEBUG."""
    parser.add_argument("-v", "--verbose", action="store_true", help="tell what happens")
    parser.add_argument("-V", "--loud", action="store_true", help="tell everything")


def configure_logging(arguments: argparse.Namespace) -> None:
    """Set the level by the flags. Libraries stay at warnings: their debug output could hold tokens."""
    level = logging.DEBUG if arguments.loud else logging.INFO if arguments.verbose else logging.WARNING
    logging.basicConfig(level=logging.WARNING, format=LOG_FORMAT)
    logging.getLogger("ec262").setLevel(level)
