"""``python -m ec262.entrypoints.foreman JOB.py``: run a job.

Exit status: 0 done, 1 the job failed, its result could not be written, or its check found a difference, 2 wrong usage
or configuration, 130 Ctrl-C, 143 SIGTERM.
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
    """Parse the command line; the arguments after ``--`` become ``job_arguments``."""
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
        description="Run a MapReduce job. If no discovery service is configured, the job runs on an embedded system: "
        "a discovery service and workers that are started on this machine.",
        epilog="Arguments after -- are passed to the job in sys.argv: ec262 foreman JOB.py -- --n 5",
    )
    add = parser.add_argument
    add("job", metavar="JOB.py", help="job file: marks a mapper and a reducer and defines data, or calls ec262.run_job")
    add("--input", nargs="+", metavar="FILE", help="read rows from files, for a job without data of its own")
    add("--format", choices=FORMATS, default="lines", help="how files become rows (default: %(default)s)")
    add("--output", metavar="FILE", help="write the result to FILE as JSON lines of [key, value] (default: print it)")
    add("--discovery", metavar="URL", help="URL of the discovery service (default: an embedded system)")
    add(
        "--discovery-ca",
        metavar="FILE",
        help="CA bundle used to verify discovery's certificate (PEM; default: public CAs)",
    )
    add("--invitation", metavar="CODE", help="invitation code that brings credits (or EC262_INVITATION)")
    add("--role", metavar="NAME", help="account that pays: foreman or worker-PORT (default: foreman)")
    add("--credentials", metavar="DIR", help="folder that holds account tokens")
    add(
        "--verify",
        metavar="RULE",
        help="rule: majority:3, quorum:2, error:1e-4 or, in the embedded system, none (default: majority:3)",
    )
    add("--report", metavar="FILE", help="write the evidence for each verdict: NAME.html with NAME.json, or NAME.json")
    add("--seed", type=int, help="seed of the job's randomness (default: 0)")
    add("--task-timeout", type=float, metavar="S", help="seconds that a task may take (default: 600)")
    add(
        "--memory", metavar="SIZE", help="memory for the job's data; anything beyond it spills to disk (default: 512MB)"
    )
    add("--map-tasks", type=int, metavar="N", help="number of map tasks (default: sized by time)")
    add("--reduce-tasks", type=int, metavar="N", help="number of reduce tasks (default: as the pool suggests)")
    add("--round-floats", type=int, metavar="N", help="round floats in results to N significant digits (1 to 15)")
    add("--attempts", type=int, metavar="N", help="number of times to buy a task before the job fails (default: 3)")
    add("--patience", type=float, metavar="S", help="seconds to wait for workers or discovery (default: 60)")
    add("--task-memory", type=int, metavar="MIB", help="memory that a task may use (default: 1024)")
    add("--workers", type=int, metavar="N", help="number of workers in the embedded system (default: 4)")
    add("--config", metavar="FILE", help="settings file (TOML)")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--dry-run", action="store_true", help="show the plan and its cost without buying anything")
    instead.add_argument(
        "--check-determinism",
        action="store_true",
        help="compute some rows twice on this machine and report differences and their causes, without buying anything",
    )
    add("--sample", type=_count, default=100, metavar="N", help="number of rows to check (default: %(default)s)")
    add("--quiet", action="store_true", help="show no progress")
    add_verbosity(parser)
    add("--version", action="version", version=f"ec262 {__version__}")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a number of 1 or more, not {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
