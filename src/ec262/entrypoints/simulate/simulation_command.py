"""Runs the simulator's command."""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing, contextmanager
from multiprocessing import get_context
from pathlib import Path

import attrs

from ec262.domain.errors import OutputFailed
from ec262.domain.simulation.population import SCENARIOS, Scenario
from ec262.domain.simulation.statistics import Estimate, Tally, cost, error_rate
from ec262.domain.verification.rules import USAGE, parse_rule
from ec262.entrypoints.shared.command import complain, tell
from ec262.entrypoints.shared.interruption import sigterm_cancels
from ec262.entrypoints.shared.tables import table
from ec262.entrypoints.simulate.trials import OWN, RIVALS, Trial, run_trial
from ec262.services.discovery.discovery_policy import Policy

RULE = "error:1e-5"
QUICK_TASKS, FULL_TASKS = 60_000, 1_000_000
JOBS = (10_000, 100)

NEW_OBJECTS = 50_000
"""Number of new objects after which the collector examines them. It rarely examines all objects: there are millions,
hardly any are in cycles, and examining them took a tenth of the time."""


@attrs.frozen(kw_only=True)
class Cell:
    """The results of a policy in a scenario, over several seeds."""

    scenario: Scenario
    policy: str
    job: int | None
    tallies: tuple[Tally, ...]

    @property
    def label(self) -> str:
        """The policy's name in the table."""
        return self.policy if self.job is None else f"{self.policy}, jobs of {self.job:,}"

    @property
    def error(self) -> Estimate:
        """The share of wrong results."""
        return error_rate(self.tallies)

    @property
    def cost(self) -> Estimate:
        """Executions per task."""
        return cost(self.tallies)


def run_command(arguments: Sequence[str] | None, *, description: str | None) -> int:
    """Run the command; return its exit status. Raises OutputFailed."""
    parser = _parser(description)
    options = parser.parse_args(arguments)
    if problem := _problem(options):
        parser.error(problem)
    trials = _trials(options)
    cells = _cells(trials, _run(trials, options.processes))
    tell(_text(cells))
    if options.json:
        figures = json.dumps([_plain(cell, options) for cell in cells], indent=1) + "\n"
        with _explained(options.json):
            options.json.write_text(figures, encoding="utf-8")
    if options.plot:
        from ec262.adapters.terminal.plot import draw_plot

        with _explained(options.plot):
            draw_plot(options.plot, [(cell.scenario.title, cell.label, cell.cost, cell.error) for cell in cells])
    return 0


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputFailed(f"cannot write {path}: {error.strerror}") from error


def _parser(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ec262.entrypoints.simulate", description=description)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help=f"{QUICK_TASKS:,} tasks of every policy (default)")
    size.add_argument("--full", action="store_true", help=f"{FULL_TASKS:,} tasks of ec262 alone, one seed")
    size.add_argument("--tasks", type=_positive, metavar="N", help="number of tasks")
    parser.add_argument("--policy", action="append", choices=[OWN, *RIVALS], help="only this policy; may be repeated")
    parser.add_argument(
        "--scenario",
        action="append",
        choices=[each.name for each in SCENARIOS],
        help="only this scenario; may be repeated",
    )
    parser.add_argument("--rule", type=_rule, default=RULE, help=f"ec262's rule ({RULE}): {USAGE}")
    parser.add_argument(
        "--audit-rate", type=_share, default=Policy().audit_rate, metavar="X", help="ec262's audit rate (0.08)"
    )
    parser.add_argument("--workers", type=_positive, default=200, metavar="N", help="number of workers (200)")
    parser.add_argument("--job", type=_positive, action="append", metavar="N", help="tasks per job (10000 and 100)")
    parser.add_argument("--seed", type=int, default=1, help="first seed; the same seed gives the same results")
    parser.add_argument("--seeds", type=_positive, metavar="N", help="runs of each, with consecutive seeds (3)")
    parser.add_argument("--processes", type=_positive, default=1, metavar="N", help="runs at the same time (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures for each run")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw error against executions (.svg, .png, .pdf)")
    return parser


def _problem(options: argparse.Namespace) -> str:
    """Return a problem that would otherwise show only after all the work, or an empty string."""
    for path in filter(None, (options.json, options.plot)):
        if os.path.isdir(path) or not os.access(Path(os.path.realpath(path)).parent, os.W_OK):  # noqa: PTH112 - never raises
            return f"cannot write {path}"
    if options.plot and options.plot.suffix not in {".svg", ".png", ".pdf"}:
        return f"a plot must be named NAME.svg, NAME.png or NAME.pdf, not {options.plot}"
    if options.plot and importlib.util.find_spec("matplotlib") is None:
        return "--plot needs matplotlib: pip install 'ec262[simulate]'"
    return ""


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _share(text: str) -> float:
    try:
        return Policy(audit_rate=float(text)).audit_rate
    except ValueError:
        raise argparse.ArgumentTypeError("must be 0.01 to 1") from None


def _rule(text: str) -> str:
    try:
        return parse_rule(text).spec
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _trials(options: argparse.Namespace) -> list[Trial]:
    """List the requested runs, the longest first, because the total time depends on them."""
    chosen = set(options.scenario or [each.name for each in SCENARIOS])
    policies = options.policy or ([OWN] if options.full else [*RIVALS, OWN])
    seeds = options.seeds or (1 if options.full else 3)
    tasks = options.tasks or (FULL_TASKS if options.full else QUICK_TASKS)
    jobs = options.job or (JOBS[:1] if options.full else JOBS)
    trials = [
        Trial(
            policy=policy,
            scenario=attrs.evolve(scenario, workers=options.workers),
            tasks=tasks,
            job=job,
            seed=options.seed + number,
            rule=options.rule,
            audit_rate=options.audit_rate,
        )
        for scenario in SCENARIOS
        if scenario.name in chosen
        for policy in policies
        for job in (jobs if policy == OWN else (tasks,))
        for number in range(seeds)
    ]
    return sorted(trials, key=lambda trial: trial.policy != OWN)


def _run(trials: Sequence[Trial], processes: int) -> dict[Trial, Tally]:
    """Run all trials, and report progress on standard error."""
    began = time.monotonic()
    tallies: dict[Trial, Tally] = {}
    with closing(_results(trials, processes)) as results:
        for trial, tally in results:
            tallies[trial] = tally
            complain(
                f"{time.monotonic() - began:6.0f} s  {len(tallies)} of {len(trials)}: {trial.policy}, "
                f"{trial.scenario.name}, jobs of {trial.job}, seed {trial.seed}: "
                f"{tally.errors} errors, {tally.executions / tally.tasks:.3f} executions per task"
            )
    return tallies


def _results(trials: Sequence[Trial], processes: int) -> Generator[tuple[Trial, Tally]]:
    if processes == 1:
        _collect_seldom()
        for trial in trials:
            yield trial, run_trial(trial)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_begin_process) as pool:
        try:
            # SIGTERM is deferred as well, but not masked: processes inherit the mask, and SIGTERM could not end them.
            with sigterm_cancels(lambda: None), _uninterrupted():
                running = {pool.submit(run_trial, trial): trial for trial in trials}
            for future in as_completed(running):
                yield running[future], future.result()
        except BaseException:  # Ctrl-C, here or in the consumer of the results: the pool would wait for all runs
            for process in multiprocessing.active_children():
                process.terminate()
            raise


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Block Ctrl-C while processes start: a process that is interrupted before it gets its work never ends, and the
    pool waits for it. Windows has no such mask, so there this can still happen."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first process, which ends the others
    _collect_seldom()


def _collect_seldom() -> None:
    gc.set_threshold(NEW_OBJECTS, 20, 100)


def _cells(trials: Sequence[Trial], tallies: dict[Trial, Tally]) -> list[Cell]:
    """Group the runs by scenario and policy, in the order of the scenarios."""
    groups: dict[tuple[str, str, int | None], list[Trial]] = {}
    for trial in trials:
        job = trial.job if trial.policy == OWN else None
        groups.setdefault((trial.scenario.name, trial.policy, job), []).append(trial)
    cells = [
        Cell(scenario=each[0].scenario, policy=policy, job=job, tallies=tuple(tallies[trial] for trial in each))
        for (_, policy, job), each in groups.items()
    ]
    places = {scenario.name: place for place, scenario in enumerate(SCENARIOS)}
    return sorted(cells, key=lambda cell: (places[cell.scenario.name], cell.policy == OWN))


def _text(cells: Sequence[Cell]) -> str:
    heads = ("adversary", "policy", "error", "95 %", "executions per task", "95 %", "2nd half", "woken", "new names")
    return table(heads, [_row(cell) for cell in cells])


def _row(cell: Cell) -> tuple[str, ...]:
    error, price, runs = cell.error, cell.cost, len(cell.tallies)
    renames = cell.scenario.renames or cell.scenario.flood > 0
    return (
        cell.scenario.title,
        cell.label,
        f"{error.value:.1e}" if error.value else "0",
        f"{error.low:.1e} to {error.high:.1e}",
        f"{price.value:.3f}",
        f"{price.low:.3f} to {price.high:.3f}",
        _second_half(cell.tallies),
        f"{sum(tally.woken for tally in cell.tallies) / runs:.0f}" if cell.scenario.sleep else "",
        f"{sum(tally.names for tally in cell.tallies) / runs:.0f}" if renames else "",
    )


def _second_half(tallies: Sequence[Tally]) -> str:
    costs = [tally.second_half for tally in tallies if tally.second_half is not None]
    return f"{sum(costs) / len(costs):.3f}" if costs else ""


def _plain(cell: Cell, options: argparse.Namespace) -> dict[str, object]:
    return {
        "scenario": attrs.asdict(cell.scenario),
        "policy": cell.policy,
        "rule": options.rule if cell.policy == OWN else None,
        "audit_rate": options.audit_rate if cell.policy == OWN else None,
        "job": cell.job,
        "first_seed": options.seed,
        "error": attrs.asdict(cell.error),
        "executions_a_task": attrs.asdict(cell.cost),
        "runs": [attrs.asdict(tally) for tally in cell.tallies],
    }
