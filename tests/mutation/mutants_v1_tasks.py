"""Computing, committing, winning, and what deadlines do, as trust.md has them."""

from __future__ import annotations

from tests.mutation.mutant import Mutant

TASKS = "src/ec262/domain/discovery/tasks.py"
STATES = "src/ec262/domain/discovery/task_states.py"
VERIFICATION = "src/ec262/domain/verification/rules.py"
FOREMEN = "src/ec262/services/discovery/for_foremen.py"
REPLIES = "src/ec262/services/discovery/replies.py"
TRANSACTIONS = "src/ec262/services/discovery/transactions.py"
MEMORY = "src/ec262/adapters/memory/tasks.py"
COMMANDS = "src/ec262/domain/protocol/foreman_calls.py"
BELL = "src/ec262/entrypoints/http/long_poll.py"

VERDICTS = "tests/unit/services/test_discovery_verdicts.py"
WORKING = "tests/unit/services/discovery/test_discovery_workers.py"
SERVICE = "tests/unit/services/discovery/test_discovery_service.py"
OF_TASKS = "tests/unit/domain/discovery/test_tasks.py"
WITHOUT_WIN = "tests/unit/domain/discovery/test_tasks_without_a_win.py"
OF_RULES = "tests/unit/domain/verification/test_verification.py"
OF_COMMANDS = "tests/unit/domain/protocol/test_commands.py"
OF_BELL = "tests/unit/entrypoints/http/test_discovery_bell.py"

COMMITTING = (
    Mutant(
        rule="only assigned workers can fetch the key",
        file=TASKS,
        old="        raise unknown_task(self.id)",
        new="        return self.replicas[0]",
        tests=f"{OF_TASKS}::test_only_the_assigned_ask_and_only_while_something_can_come_of_it",
    ),
    Mutant(
        rule="after the deadline no worker gets the key",
        file=TASKS,
        old="        if self.key is None or self.state not in RUNNING:",
        new="        if self.key is None:",
        tests=f"{WORKING}::test_after_the_deadline_no_key_is_given",
    ),
    Mutant(
        rule="a worker commits once: another digest is refused (second commitment accepted)",
        file=TASKS,
        old="    if replica.digest is not None:\n        raise CommitmentConflict",
        new="    if False:\n        raise CommitmentConflict",
        tests=f"{OF_TASKS}::test_another_commitment_is_refused",
    ),
    Mutant(
        rule="the same digest again is fine",
        file=TASKS,
        old="    if replica.digest == digest:\n        return task, ()\n",
        new="",
        tests=f"{WORKING}::test_commitments_can_be_repeated_but_not_changed",
    ),
    Mutant(
        rule="who has given up does not commit",
        file=TASKS,
        old="    if replica.given_up:",
        new="    if False:",
        tests=f"{OF_TASKS}::test_giving_up_ends_the_waiting_for_a_worker_and_moves_no_credits",
    ),
    Mutant(
        rule="nobody sees commitments before the verdict",
        file=REPLIES,
        old="wanted=wanted, confidence=finding.confidence)",
        new="wanted=wanted, confidence=finding.confidence, digest=next(iter(task.commitments()), None))",
        tests=f"{VERDICTS}::test_before_a_win_only_the_count_is_revealed",
    ),
    Mutant(
        rule="what is refused of one task of a batch leaves the others alone",
        file=TRANSACTIONS,
        old="            self.refused.append(TaskRefusal(task=task, error=error.code, message=str(error)))\n"
        "            return None",
        new="            raise",
        tests=f"{WORKING}::test_a_refusal_of_one_task_leaves_the_others_alone",
    ),
    Mutant(
        rule="a task looks to strangers like one that is not there (reply to a stranger distinguishable)",
        file=TASKS,
        old="    replica = task.replica_of(worker)\n    task.running_key()\n",
        new="    task.running_key()\n    replica = task.replica_of(worker)\n",
        tests=f"{WORKING}::test_a_stranger_cannot_tell_a_task_from_one_that_is_not_there",
    ),
)

TELLING = (
    Mutant(
        rule="a worker that has committed is not told whether the task is won",
        file=REPLIES,
        old="won=task.state is TaskState.WON and replica.outstanding,",
        new="won=task.state is TaskState.WON,",
        tests=f"{WORKING}::test_workers_that_have_not_committed_learn_of_a_win",
    ),
    Mutant(
        rule="a win by one worker's word is told to no worker",
        file=REPLIES,
        old="won=task.state is TaskState.WON and",
        new="won=task.won and",
        tests=f"{WORKING}::test_workers_do_not_learn_of_a_win_by_one_commitment",
    ),
)

WINNING = (
    Mutant(
        rule="the digest that satisfies the rule wins, not one short of it",
        file=VERIFICATION,
        old="digest=digest if count >= quorum else None",
        new="digest=digest if count >= quorum - 1 else None",
        tests=OF_RULES,
    ),
    Mutant(
        rule="the digest that satisfies the rule wins at once",
        file=VERIFICATION,
        old="digest=digest if count >= quorum else None",
        new="digest=digest if count > quorum else None",
        tests=OF_RULES,
    ),
    Mutant(
        rule="discovery adjudicates at each commit by the task's own rule",
        file=TASKS,
        old="    return parse_rule(rule).find(",
        new='    return parse_rule("majority:3").find(',
        tests=f"{OF_TASKS}::test_one_replica_wins_alone",
    ),
    Mutant(
        rule="a win is irrevocable: what comes later is not adjudicated again",
        file=TASKS,
        old="    if task.state is TaskState.WON:\n"
        "        return _pay_winners(_advance(committed, Event.COMMITMENT), at=now)",
        new="    if task.state is TaskState.WON:\n"
        "        return _pay_winners(fast_evolve(committed, digest=digest), at=now)",
        tests=f"{OF_TASKS}::test_a_loser_is_not_paid",
    ),
    Mutant(
        rule="those who committed the winning digest are paid at that moment",
        file=TASKS,
        old="    return (won, ()) if finding.alone else _pay_winners(won, at=now)",
        new="    return won, ()",
        tests=f"{VERDICTS}::test_after_a_win_the_key_the_digest_and_the_winners_are_revealed",
    ),
    Mutant(
        rule="for another digest nobody is ever paid (wrong loser paid)",
        file=TASKS,
        old="if replica.digest == task.digest and not replica.paid]",
        new="if replica.digest is not None and not replica.paid]",
        tests=f"{OF_TASKS}::test_a_loser_before_the_win_is_not_paid_by_it {OF_TASKS}::test_a_loser_is_not_paid",
    ),
    Mutant(
        rule="a share of an escrow moves once",
        file=TASKS,
        old="if replica.digest == task.digest and not replica.paid]",
        new="if replica.digest == task.digest]",
        tests=f"{OF_TASKS}::test_a_late_equal_commitment_is_paid_until_the_deadline",
    ),
    Mutant(
        rule="an equal digest until the deadline is paid (late equal commitment unpaid)",
        file=TASKS,
        old="    if task.state is TaskState.WON:\n"
        "        return _pay_winners(_advance(committed, Event.COMMITMENT), at=now)",
        new="    if task.state is TaskState.WON:\n        return _advance(committed, Event.COMMITMENT), ()",
        tests=f"{OF_TASKS}::test_a_late_equal_commitment_is_paid_until_the_deadline",
    ),
    Mutant(
        rule="a commitment after the deadline is not taken (late commitment paid)",
        file=TASKS,
        old='    if task.is_due(now):\n        raise TaskClosed(f"the deadline of task {task.id} has passed")\n',
        new="",
        tests=f"{OF_TASKS}::test_a_commitment_at_the_deadline_is_too_late",
    ),
    Mutant(
        rule="the deadline itself is too late",
        file=TASKS,
        old="        return self.state in RUNNING and now >= self.deadline",
        new="        return self.state in RUNNING and now > self.deadline",
        tests=f"{OF_TASKS}::test_before_the_deadline_nothing_expires",
    ),
    Mutant(
        rule="the foreman gets a key only when its payment is fixed (key before payment)",
        file=REPLIES,
        old="        confidence=task.confidence,\n    )",
        new="        confidence=task.confidence,\n        key=task.key,\n    )",
        tests=f"{VERDICTS}::test_before_a_win_only_the_count_is_revealed",
    ),
    Mutant(
        rule="the delivery secrets are told of winners alone",
        file=REPLIES,
        old="        for replica in task.replicas\n        if replica.paid or (task.state is TaskState.PROVISIONAL and "
        "replica.digest == task.digest)\n",
        new="        for replica in task.replicas\n",
        tests=f"{VERDICTS}::test_after_a_win_the_key_the_digest_and_the_winners_are_revealed",
    ),
    Mutant(
        rule="verdicts are for who bought the task",
        file=FOREMEN,
        old="for task in found if task.foreman == foreman)",
        new="for task in found)",
        tests=f"{VERDICTS}::test_verdicts_leave_out_what_was_not_bought_by_the_caller",
    ),
    Mutant(
        rule="key, digest and winners may be read until the task is forgotten",
        file=MEMORY,
        old="    return None if task is None else (task.forgotten_at, task.id)",
        new="    return None if task is None else (task.deadline, task.id)",
        tests=f"{VERDICTS}::test_tasks_are_forgotten_a_day_after_their_deadline",
    ),
    Mutant(
        rule="who waits is told of a win",
        file=TRANSACTIONS,
        old="            self._on_decided(decided)",
        new="            pass",
        tests=f"{SERVICE}::test_a_task_is_decided_by_a_win_a_last_commitment_a_surrender_a_dispute_or_a_deadline",
    ),
    Mutant(
        rule="nobody is told of what did not become durable",
        file=TRANSACTIONS,
        old="        self.uow.commit()\n        decided, self._decided = self._decided, []\n        if decided:\n"
        "            self._on_decided(decided)",
        new="        decided, self._decided = self._decided, []\n        if decided:\n"
        "            self._on_decided(decided)\n        self.uow.commit()",
        tests=f"{SERVICE}::test_a_rollback_notifies_nobody",
    ),
    Mutant(
        rule="the bell wakes who waits for a task",
        file=BELL,
        old="                news.set()",
        new="                pass",
        tests=f"{OF_BELL}::test_the_bell_ends_the_waiting",
    ),
    Mutant(
        rule="a task that nobody may commit to any more is news",
        file=COMMANDS,
        old="        return self.state is not TaskState.OPEN or self.outstanding == 0",
        new="        return self.state is not TaskState.OPEN",
        tests=f"{OF_COMMANDS}::test_there_is_news_when_a_task_is_decided_or_unknown",
    ),
)

DEADLINES = (
    Mutant(
        rule="what a win did not pay is kept by the service (refund after win)",
        file=TASKS,
        old="    if task.won:\n        return _expire_won(task, (), now=now)",
        new="    if False:\n        return _expire_won(task, (), now=now)",
        tests=f"{OF_TASKS}::test_the_service_keeps_what_a_win_did_not_pay",
    ),
    Mutant(
        rule="whoever gets a key gets no credits back (dispute refunding)",
        file=TASKS,
        old="_from_escrow(task, SERVICE, amount",
        new="_from_escrow(task, user_account(task.foreman), amount",
        tests=f"{WITHOUT_WIN}::test_a_foreman_that_has_the_key_gets_no_refund",
    ),
    Mutant(
        rule="what nobody won is refunded",
        file=TASKS,
        old="    to, reason = user_account(task.foreman), Reason.REFUND",
        new="    to, reason = SERVICE, Reason.REFUND",
        tests=f"{OF_TASKS}::test_a_task_without_a_win_is_refunded_and_its_key_destroyed",
    ),
    Mutant(
        rule="refund and key exclude each other: the key is destroyed",
        file=TASKS,
        old="    after = fast_evolve(after, key=None)",
        new="    pass",
        tests=f"{OF_TASKS}::test_a_task_without_a_win_is_refunded_and_its_key_destroyed",
    ),
    Mutant(
        rule="a refund is made once, and nothing is paid after it (paid after refund)",
        file=STATES,
        old="    (TaskState.OPEN, Event.DEADLINE): TaskState.REFUNDED,",
        new="    (TaskState.OPEN, Event.DEADLINE): TaskState.OPEN,",
        tests=f"{OF_TASKS}::test_a_deadline_is_applied_once "
        f"{OF_TASKS}::test_a_closed_task_takes_no_commitment_even_if_the_clock_is_set_back",
    ),
    Mutant(
        rule="a task that was paid takes no deadline after the first",
        file=STATES,
        old="    (TaskState.WON, Event.DEADLINE): TaskState.SETTLED,",
        new="    (TaskState.WON, Event.DEADLINE): TaskState.WON,",
        tests=f"{OF_TASKS}::test_a_deadline_is_applied_once",
    ),
    Mutant(
        rule="discovery applies deadlines by itself, before any answer (deadline not applied before an answer)",
        file=TRANSACTIONS,
        old="            while due := uow.tasks.due(transaction.now, limit=EXPIRY_BATCH):",
        new="            while due := []:",
        tests=f"{VERDICTS}::test_a_task_without_a_win_is_refunded_and_its_key_deleted "
        f"{SERVICE}::test_a_sweep_applies_any_number_of_deadlines",
    ),
    Mutant(
        rule="a deadline that was applied stays so, even if the clock is set back",
        file=TRANSACTIONS,
        old="transaction.now)\n                transaction.commit()",
        new="transaction.now)",
        tests=f"{VERDICTS}::test_a_refund_stays_a_refund_when_the_clock_is_set_back",
    ),
)

MUTANTS = (*COMMITTING, *TELLING, *WINNING, *DEADLINES)
