"""The rule that verifies a task, and when workers are added to it: one rule for all tasks, or the user's own choice."""

from __future__ import annotations

from typing import Any, Protocol

import attrs

from ec262.domain.errors import ConfigurationError, JobDefinitionError
from ec262.domain.protocol.foreman_calls import Verdict
from ec262.domain.verification.rules import VerificationRule, parse_rule
from ec262.domain.work.work import Phase, TaskName


class VerificationPlan(Protocol):
    """A user's own choice of rules. Its methods run in the foreman's event loop: they must return immediately, and
    always the same for the same arguments."""

    def rule_for(self, name: TaskName, purchases: int) -> str | VerificationRule:
        """Return the rule, or its text for ``parse_rule``, for a task that was bought ``purchases`` times without a
        win."""
        ...

    def replicas_to_add(self, name: TaskName, verdict: Verdict) -> int:
        """Return how many workers to add to a task that has not won although no further commitment is expected:
        ``verdict.wanted`` is how many its rule asks for. If it is 0, or the task would have more than
        ``ec262.domain.verification.rules.MAX_REPLICAS`` replicas, the task is bought again, from other workers."""
        ...


@attrs.frozen(kw_only=True)
class FixedRule:
    """One rule for all tasks, with as many additional workers as it asks for."""

    rule: VerificationRule

    def rule_for(self, name: TaskName, purchases: int) -> VerificationRule:  # noqa: ARG002 - the rule is the same for all
        """Return the rule."""
        return self.rule

    def replicas_to_add(self, name: TaskName, verdict: Verdict) -> int:  # noqa: ARG002 - as above
        """Return the number that the verdict asks for."""
        return verdict.wanted


def as_plan(verify: Any) -> VerificationPlan:
    """Convert a rule as text, a rule or a plan into a plan.

    Raises JobDefinitionError for anything else, and ValueError for an invalid rule text.
    """
    if isinstance(verify, str):
        return FixedRule(rule=parse_rule(verify))
    if callable(getattr(verify, "rule_for", None)) and callable(getattr(verify, "replicas_to_add", None)):
        plan: VerificationPlan = verify
        return plan
    if isinstance(getattr(verify, "spec", None), str):
        return FixedRule(rule=parse_rule(verify.spec))
    raise JobDefinitionError(
        "verify must be a rule, such as 'majority:3', or an object with rule_for and replicas_to_add (see "
        f"ec262.VerificationPlan), not {type(verify).__name__}"
    )


def rule_of(plan: VerificationPlan, name: TaskName, purchases: int, *, one_word: bool) -> VerificationRule:
    """Return a plan's rule for a task. ``one_word`` allows rules under which any single worker decides, for foremen
    that trust all their workers.

    Raises JobDefinitionError if the plan does not return a rule, and ConfigurationError if the rule is not allowed.
    """
    chosen: object = plan.rule_for(name, purchases)
    try:
        rule = parse_rule(chosen if isinstance(chosen, str) else str(getattr(chosen, "spec", chosen)))
    except ValueError as error:
        raise JobDefinitionError(f"verify.rule_for({name}) did not return a rule: {error}") from error
    if rule.enough(1) and not one_word:
        raise ConfigurationError(
            f"with the rule {rule.spec}, the word of one stranger would decide each task: use it only with the "
            "embedded system; with a discovery service, use majority:3, quorum:2 or error:1e-4"
        )
    return rule


def replicas_to_add(plan: VerificationPlan, name: TaskName, verdict: Verdict) -> int:
    """Return how many workers a plan adds. Raises JobDefinitionError if it does not return a valid number."""
    count: object = plan.replicas_to_add(name, verdict)
    if not isinstance(count, int) or count < 0:
        raise JobDefinitionError(f"verify.replicas_to_add({name}) returned {count!r:.100}, not an integer of 0 or more")
    return count


def workers_needed(plan: VerificationPlan) -> int:
    """Return how many newcomers the first task of either phase needs: one more than it is bought with if workers may be
    added."""
    rules = [rule_of(plan, TaskName(phase=phase, index=0), 0, one_word=True) for phase in Phase]
    return max(rule.team() + adds_workers(rule) for rule in rules)


def adds_workers(rule: VerificationRule) -> bool:
    """Tell whether a rule asks for additional workers if the first ones do not suffice."""
    return rule.find((), outstanding=0, audited=False).wanted > 0
