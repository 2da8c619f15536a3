"""How patient the run of a job is, and how its tasks are verified."""

from __future__ import annotations

import attrs

from ec262.domain.foreman.job.verification_plan import VerificationPlan, as_plan, rule_of
from ec262.domain.verification.rules import VerificationRule
from ec262.domain.work.work import TaskName


@attrs.frozen(kw_only=True)
class RunPolicy:
    """How patient a run is; times in seconds.

    ``rule`` is how its tasks are verified: a rule, its text, or a user's own plan. ``one_word`` allows rules under
    which any single worker decides, for a foreman that owns all its workers.

    ``attempts`` is the maximum number of purchases of one task before the job is given up. ``patience_s`` is how long
    to wait while no worker is available. ``retry_s`` is the first pause between two attempts to buy, ``poll_s`` the
    shortest one before discovery is watched for tasks whose workers may have committed without reporting it.
    ``grace_s`` is how long after a deadline discovery is asked for its last verdict.
    """

    rule: VerificationPlan = attrs.field(converter=as_plan)
    one_word: bool = False
    attempts: int = attrs.field(default=3, validator=attrs.validators.ge(1))
    patience_s: float = 60.0
    retry_s: float = 0.2
    poll_s: float = 2.0
    grace_s: float = 1.0

    def rule_of(self, name: TaskName, purchases: int = 0) -> VerificationRule:
        """Return the rule of a task that was bought ``purchases`` times. Raises JobDefinitionError,
        ConfigurationError."""
        return rule_of(self.rule, name, purchases, one_word=self.one_word)
