"""The simulator's command."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ec262.domain.simulation.population import Scenario
from ec262.entrypoints.simulate.__main__ import main
from ec262.entrypoints.simulate.trials import RIVALS, Trial, make_rival, run_trial
from tests.processes import family

SMALL = ["--tasks", "60", "--workers", "20", "--job", "30", "--scenario", "always", "--rule", "error:1e-2"]


def test_all_policies_stand_side_by_side(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([*SMALL, "--seeds", "2", "--json", str(tmp_path / "figures.json")]) == 0
    printed = capsys.readouterr()
    assert [line.split("  ")[1].strip() for line in printed.out.splitlines()[1:]] == [*RIVALS, "ec262, jobs of 30"]
    assert "10 of 10" in printed.err
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [len(cell["runs"]) for cell in figures] == [2] * 5
    assert figures[-1]["rule"] == "error:0.01"


def test_the_same_seed_prints_the_same_table_in_other_processes(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*SMALL, "--policy", "ec262", "--seeds", "2", "--seed", "9"]
    main(arguments)
    alone = capsys.readouterr().out
    main([*arguments, "--processes", "2"])
    assert capsys.readouterr().out == alone


def test_more_audits_cost_more(tmp_path: Path) -> None:
    costs = []
    for rate in ("0.01", "1"):
        arguments = ["--tasks", "600", "--workers", "10", "--job", "30", "--scenario", "nobody", "--policy", "ec262"]
        main([*arguments, "--rule", "error:1e-2", "--seeds", "1", "--audit-rate", rate, "--json", str(tmp_path / rate)])
        costs.append(json.loads((tmp_path / rate).read_text())[0]["executions_a_task"]["value"])
    assert costs[0] < 1.5 < costs[1]


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_a_plot_is_drawn(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"plot.{suffix}"
    assert main([*SMALL, "--policy", "boinc", "--policy", "2012", "--seeds", "1", "--plot", str(file)]) == 0
    assert file.stat().st_size > 5_000


@pytest.mark.parametrize(
    "arguments",
    [["--rule", "guess"], ["--tasks", "0"], ["--policy", "mine"], ["--full", "--quick"], ["--audit-rate", "0"]],
)
def test_senseless_arguments_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)


def test_unknown_policies_are_refused() -> None:
    with pytest.raises(ValueError, match="use ec262, 2012"):
        make_rival("mine", None)  # type: ignore[arg-type] # the name is looked at first


def test_a_rival_over_many_tasks_errs_as_published() -> None:
    trial = Trial(
        policy="boinc", scenario=Scenario(name="a", saboteurs=0.2), tasks=5_000, job=5_000, seed=1, rule="none"
    )
    tally = run_trial(trial)
    assert 0.05 < tally.errors / tally.tasks < 0.11
    assert 1.5 < tally.executions / tally.tasks < 1.8


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--json", "nowhere/figures.json"), "cannot write"),
        (("--plot", "nowhere/plot.svg"), "cannot write"),
        (("--plot", "plot.txt"), "NAME.svg"),
    ],
)
def test_an_unwritable_output_is_reported_before_anything_runs(
    options: tuple[str, str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--full", *options])  # would take many minutes
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "on_ctrl_c", "status"),
    [
        (signal.SIGINT, signal.SIG_DFL, 130),
        (signal.SIGTERM, signal.SIG_DFL, 143),
        (signal.SIGTERM, signal.SIG_IGN, 143),
    ],
    ids=["Ctrl-C", "SIGTERM", "SIGTERM in the background"],
)
def test_a_signal_ends_all_processes(number: signal.Signals, on_ctrl_c: signal.Handlers, status: int) -> None:
    command = [sys.executable, "-m", "ec262.entrypoints.simulate", "--policy", "ec262", "--scenario", "few"]
    with subprocess.Popen(
        [*command, "--tasks", "200000", "--seeds", "2", "--processes", "2"],
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, on_ctrl_c),  # noqa: PLW1509 - a call that is safe after a fork
    ) as running:
        while len(family(running.pid)) < 3:  # itself and its two processes at least
            time.sleep(0.1)
        os.kill(running.pid, number)
        _, errors = running.communicate(timeout=30)
    assert running.returncode == status, errors
    assert "interrupted" in errors
    deadline = time.monotonic() + 10
    while _is_anybody_left(running.pid) and time.monotonic() < deadline:  # multiprocessing's helper goes last
        time.sleep(0.1)
    assert not _is_anybody_left(running.pid)


def test_ctrl_c_before_all_is_handed_out_ends_all_processes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    submit = ProcessPoolExecutor.submit
    submitted: list[Future[Any]] = []

    def interrupted(pool: ProcessPoolExecutor, *work: Any) -> Future[Any]:
        if submitted:
            raise KeyboardInterrupt
        submitted.append(submit(pool, *work))
        return submitted[0]

    monkeypatch.setattr(ProcessPoolExecutor, "submit", interrupted)
    many = ["--tasks", "200000", "--seeds", "2", "--processes", "2"]
    assert main(["--policy", "ec262", "--scenario", "few", *many]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert multiprocessing.active_children() == []


def _is_anybody_left(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
