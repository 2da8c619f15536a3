"""``python -m ec262.entrypoints.foreman JOB.py``: run a job.

Exit status: 0 done, 1 the job failed, its result could not be written, or its check found something, 2 wrong usage or
configuration, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from ec262.entrypoints.shared.command import run
from ec262.entrypoints.shared.interruption import terminated_as_interrupted


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return run(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    from ec262.entrypoints.embedded.launch import is_needed, launch_supervisor
    from ec262.entrypoints.shared.logs import configure_logging

    with terminated_as_interrupted():
        arguments = _parsed(sys.argv[1:] if argv is None else argv)
        configure_logging(arguments)
        # The embedded system starts while this process imports the rest and reads the job.
        is_local = is_needed(discovery=arguments.discovery, config=arguments.config, environ=os.environ)
        supervisor = launch_supervisor() if is_local and not arguments.check_determinism else None
        from ec262.entrypoints.foreman.job_command import run_command

        return run_command(arguments, supervisor)


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; what stands behind ``--`` is the job's own, as ``job_arguments``."""
    end = list(argv).index("--") if "--" in argv else len(argv)
    parser = _parser()
    arguments, unknown = parser.parse_known_args(argv[:end])
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}; arguments of the job itself go after --")
    arguments.job_arguments = tuple(argv[end + 1 :])
    return arguments


def _parser() -> argparse.ArgumentParser:
    from ec262.adapters.files.inputs import FORMATS
    from ec262.entrypoints.shared.logs import add_verbosity
    from ec262.version import __version__

    parser = argparse.ArgumentParser(
        prog="ec262 foreman",
        description="Run a MapReduce job. With no discovery service configured, one is started on this machine, "
        "with workers, for this job.",
        epilog="What follows -- are arguments of the job itself, in its sys.argv: ec262 foreman JOB.py -- --n 5",
    )
    add = parser.add_argument
    add("job", metavar="JOB.py", help="the job: marks its mapper and reducer, and has data, or calls ec262.run_job")
    add("--input", nargs="+", metavar="FILE", help="rows from files, for a job that has no data of its own")
    add("--format", choices=FORMATS, default="lines", help="how files become rows (default: %(default)s)")
    add("--output", metavar="FILE", help="write the result as JSON lines of [key, value]; else it is printed")
    add("--discovery", metavar="URL", help="the discovery service (default: an embedded system on this machine)")
    add("--discovery-ca", metavar="FILE", help="whom to trust for discovery's certificate (PEM; default: the usual)")
    add("--invitation", metavar="CODE", help="an invitation's code, for credits (or EC262_INVITATION)")
    add("--role", metavar="NAME", help="whose account pays: foreman, or worker-PORT (default: foreman)")
    add("--credentials", metavar="DIR", help="folder of account tokens")
    add(
        "--verify",
        metavar="RULE",
        help="majority:3, quorum:2, error:1e-4, or, without a discovery service, none (default: majority:3)",
    )
    add("--report", metavar="FILE", help="write what the verdicts were made of: NAME.html with NAME.json, or NAME.json")
    add("--seed", type=int, help="seed of the job's randomness (default: 0)")
    add("--task-timeout", type=float, metavar="S", help="seconds that a task may take (default: 600)")
    add("--memory", metavar="SIZE", help="what the job's data may take in memory here; the rest goes to disk (512MB)")
    add("--map-tasks", type=int, metavar="N", help="how many tasks the map phase is cut into (default: sized by time)")
    add("--reduce-tasks", type=int, metavar="N", help="how many tasks the reduce phase is cut into")
    add("--round-floats", type=int, metavar="N", help="round floats in results to N significant digits (1 to 15)")
    add("--attempts", type=int, metavar="N", help="how often a task is bought before the job fails (default: 3)")
    add("--patience", type=float, metavar="S", help="seconds to wait for workers or discovery (default: 60)")
    add("--task-memory", type=int, metavar="MIB", help="memory that a task may use (default: 1024)")
    add("--workers", type=int, metavar="N", help="workers of the embedded system (default: 4)")
    add("--config", metavar="FILE", help="settings file (TOML)")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--dry-run", action="store_true", help="tell the plan and its price; buy nothing")
    instead.add_argument(
        "--check-determinism",
        action="store_true",
        help="compute some rows twice on this machine, and tell what differs and why; buy nothing",
    )
    add("--sample", type=_count, default=100, metavar="N", help="rows to check (default: %(default)s)")
    add("--quiet", action="store_true", help="no progress")
    add_verbosity(parser)
    add("--version", action="version", version=f"ec262 {__version__}")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number from 1 on is needed, not {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
