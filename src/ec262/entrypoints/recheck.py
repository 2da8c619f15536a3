"""``python -m ec262.entrypoints.recheck REPORT.json``: checks whether a job's verdicts follow from the votes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ec262.domain.errors import ConfigurationError
from ec262.entrypoints.shared.command import complain, run, tell


def main(argv: Sequence[str] | None = None) -> int:
    """Recheck a report; return 0 if every verdict follows from the votes, 1 if not, 2 if the report cannot be read."""
    return run(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    from ec262.adapters.files.receipt_files import read_report, summary_lines
    from ec262.domain.foreman.receipts import recheck
    from ec262.domain.terminal import one_line

    parser = argparse.ArgumentParser(
        prog="python -m ec262.entrypoints.recheck",
        description="Recompute every verdict in a job's report from the workers' votes.",
    )
    parser.add_argument("report", type=Path, metavar="REPORT.json", help="file that foreman --report wrote")
    parser.add_argument(
        "--verify",
        type=_rule,
        metavar="RULE",
        help="the rule that you requested (default: the one that the report names)",
    )
    arguments = parser.parse_args(argv)
    try:
        receipt = read_report(arguments.report)
    except ConfigurationError as error:
        complain(f"ec262: {error}")
        return 2
    if arguments.verify is None:
        tell(f"requested rule, according to the report: {one_line(receipt.verify)}; --verify RULE checks your own")
    doubts = recheck(receipt, arguments.verify or receipt.verify)
    for doubt in doubts:
        tell(one_line(doubt))
    for name, value in summary_lines(receipt):
        tell(f"{name + ':':24}{value}")
    tell(f"{len(receipt.won)} verdicts rechecked, {len(doubts)} do not follow from the votes")
    return 1 if doubts else 0


def _rule(text: str) -> str:
    from ec262.domain.verification.rules import parse_rule

    try:
        return parse_rule(text).spec
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
