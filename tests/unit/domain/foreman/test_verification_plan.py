"""Fixed rules and rules of the user's own."""

from __future__ import annotations

from typing import Any

import pytest

from ec262.domain.errors import ConfigurationError, JobDefinitionError
from ec262.domain.foreman.job.verification_plan import (
    FixedRule,
    adds_workers,
    as_plan,
    replicas_to_add,
    rule_of,
    workers_needed,
)
from ec262.domain.foreman.run.run_policy import RunPolicy
from ec262.domain.protocol.foreman_calls import Verdict
from ec262.domain.verification.rules import Credibility, Majority, Quorum
from ec262.domain.verification.task_state import TaskState
from ec262.domain.work.work import Phase, TaskName

NAME = TaskName(phase=Phase.MAP, index=3)
VERDICT = Verdict(task="task-0001", state=TaskState.OPEN, committed=2, outstanding=0, wanted=2)


class Own:
    """Gives what it was told to."""

    def __init__(self, rule: Any, more: Any = 1) -> None:
        self.rule = rule
        self.more = more

    def rule_for(self, name: TaskName, purchases: int) -> Any:
        return self.rule(name, purchases) if callable(self.rule) else self.rule

    def replicas_to_add(self, name: TaskName, verdict: Verdict) -> Any:
        return self.more


@pytest.mark.parametrize("verify", ["quorum:2", Quorum(count=2), FixedRule(rule=Quorum(count=2)), Own("quorum:2")])
def test_a_rule_its_text_and_a_plan_are_plans(verify: Any) -> None:
    assert rule_of(as_plan(verify), NAME, 0, one_word=False) == Quorum(count=2)


def test_a_fixed_rule_adds_what_is_wanted() -> None:
    assert replicas_to_add(as_plan("quorum:2"), NAME, VERDICT) == 2


@pytest.mark.parametrize("verify", [3, object(), Majority, None])
def test_anything_else_is_none(verify: Any) -> None:
    with pytest.raises(JobDefinitionError, match="rule_for and replicas_to_add"):
        as_plan(verify)


def test_an_invalid_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown verification rule"):
        as_plan("faith")


@pytest.mark.parametrize("answer", ["faith", 3, None, "error:2"])
def test_a_plan_must_answer_with_a_rule(answer: Any) -> None:
    with pytest.raises(JobDefinitionError, match=r"rule_for\(map task 4\) did not return a rule"):
        rule_of(Own(answer), NAME, 0, one_word=True)


@pytest.mark.parametrize("answer", [-1, 1.5, None, "2"])
def test_a_plan_must_add_a_number_of_workers(answer: Any) -> None:
    with pytest.raises(JobDefinitionError, match=r"replicas_to_add\(map task 4\) returned"):
        replicas_to_add(Own("quorum:2", answer), NAME, VERDICT)


@pytest.mark.parametrize("spec", ["none", "quorum:1", "majority:1"])
def test_one_commitment_decides_only_if_all_workers_are_trusted(spec: str) -> None:
    with pytest.raises(ConfigurationError, match="the word of one stranger would decide each task"):
        RunPolicy(rule=spec).rule_of(NAME)
    assert RunPolicy(rule=spec, one_word=True).rule_of(NAME).enough(1)


def test_rules_that_add_workers() -> None:
    assert not adds_workers(Majority())
    assert adds_workers(Quorum())
    assert adds_workers(Credibility(error=1e-4))


def test_a_plan_needs_workers_for_the_first_task_of_either_phase_and_one_to_add() -> None:
    assert workers_needed(as_plan("majority:5")) == 5
    assert workers_needed(as_plan("quorum:2")) == 3
    assert workers_needed(as_plan("none")) == 2
    assert workers_needed(as_plan("error:1e-5")) == 10
    by_phase = Own(lambda name, _: "majority:3" if name.phase is Phase.MAP else "quorum:7")
    assert workers_needed(by_phase) == 8
