"""The simulator's command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ec262.domain.simulation.population import Scenario
from ec262.entrypoints.simulate import main
from ec262.entrypoints.trials import RIVALS, Trial, make_rival, run_trial

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
def test_what_makes_no_sense_is_refused(arguments: list[str]) -> None:
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
