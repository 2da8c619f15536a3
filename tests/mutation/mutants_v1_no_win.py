"""What can be done about a task that does not win, as trust.md has it: more replicas, or the dispute."""

from __future__ import annotations

from tests.mutation.mutant import Mutant

TASKS = "src/ec262/domain/discovery/tasks.py"
STATES = "src/ec262/domain/discovery/task_states.py"
FOREMEN = "src/ec262/services/discovery/for_foremen.py"
REPLIES = "src/ec262/services/discovery/replies.py"

VERDICTS = "tests/unit/services/test_discovery_verdicts.py"
ADDING = "tests/unit/services/discovery/test_discovery_replicas.py"
WITHOUT_WIN = "tests/unit/domain/discovery/test_tasks_without_a_win.py"

MUTANTS = (
    Mutant(
        rule="added replicas get the same key",
        file=TASKS,
        old="        replicas=task.replicas + replicas,",
        new="        replicas=task.replicas + replicas,\n        key=bytes(KEY_BYTES),",
        tests=f"{ADDING}::test_more_workers_get_the_same_key_and_can_bring_the_win",
    ),
    Mutant(
        rule="added replicas bring a new deadline",
        file=TASKS,
        old="        deadline=task.deadline + later_s,",
        new="        deadline=task.deadline,",
        tests=f"{WITHOUT_WIN}::test_added_replicas_have_the_same_key_and_a_later_deadline",
    ),
    Mutant(
        rule="a deadline never moves forward: who computes has the time that it was told",
        file=TASKS,
        old="    later_s = max(0.0, deadline - task.deadline)",
        new="    later_s = deadline - task.deadline",
        tests=f"{WITHOUT_WIN}::test_a_deadline_never_moves_forward",
    ),
    Mutant(
        rule="no replica is added after a win (replicas added after a win)",
        file=STATES,
        old="    (TaskState.WON, Event.COMMITMENT): TaskState.WON,",
        new="    (TaskState.WON, Event.COMMITMENT): TaskState.WON,\n"
        "    (TaskState.WON, Event.REPLICAS): TaskState.WON,",
        tests=f"{WITHOUT_WIN}::test_nothing_is_added_to_a_task_that_is_not_open",
    ),
    Mutant(
        rule="there is room for replicas as long as nothing is won for good",
        file=TASKS,
        old="    return task.state in {TaskState.OPEN, TaskState.PROVISIONAL} and not task.is_due(now) and fits",
        new="    return not task.is_due(now) and fits",
        tests=f"{ADDING}::test_nothing_is_added_after_a_win_a_dispute_or_a_deadline_or_for_others",
    ),
    Mutant(
        rule="replicas are added before the deadline",
        file=TASKS,
        old="    return task.state in {TaskState.OPEN, TaskState.PROVISIONAL} and not task.is_due(now) and fits",
        new="    return task.state in {TaskState.OPEN, TaskState.PROVISIONAL} and fits",
        tests=f"{WITHOUT_WIN}::test_there_is_room_in_open_tasks_before_their_deadline",
    ),
    Mutant(
        rule="replicas are added by who bought the task",
        file=FOREMEN,
        old="task is None or task.foreman != foreman or not",
        new="task is None or not",
        tests=f"{ADDING}::test_nothing_is_added_after_a_win_a_dispute_or_a_deadline_or_for_others",
    ),
    Mutant(
        rule="one call with one id adds once, however often it is made",
        file=FOREMEN,
        old="record = transaction.uow.purchases.get(command.purchase)",
        new="record = None",
        tests=f"{ADDING}::test_an_addition_is_repeated_under_its_id_and_moves_nothing",
    ),
    Mutant(
        rule="the dispute pays all who committed",
        file=TASKS,
        old="    payees = [replica for replica in task.replicas if replica.digest is not None]",
        new="    payees = [replica for replica in task.replicas if replica.digest == task.commitments()[0]]",
        tests=f"{WITHOUT_WIN}::test_a_dispute_pays_all_who_committed_and_keeps_the_key",
    ),
    Mutant(
        rule="the dispute leaves nothing in escrow",
        file=TASKS,
        old="    if rest:\n",
        new="    if False:\n",
        tests=f"{WITHOUT_WIN}::test_a_foreman_that_has_the_key_gets_no_refund",
    ),
    Mutant(
        rule="no dispute while somebody may still commit",
        file=TASKS,
        old="    return waits and task.outstanding == 0 and bool(task.commitments())",
        new="    return waits and bool(task.commitments())",
        tests=f"{WITHOUT_WIN}::test_other_tasks_cannot_be_disputed",
    ),
    Mutant(
        rule="no dispute of what nobody committed to: the key would be given for nothing",
        file=TASKS,
        old="    return waits and task.outstanding == 0 and bool(task.commitments())",
        new="    return waits and task.outstanding == 0",
        tests=f"{WITHOUT_WIN}::test_other_tasks_cannot_be_disputed",
    ),
    Mutant(
        rule="no dispute of what is to be refunded",
        file=TASKS,
        old="    waits = task.state is TaskState.OPEN and not task.is_due(now)",
        new="    waits = task.state is TaskState.OPEN",
        tests=f"{WITHOUT_WIN}::test_other_tasks_cannot_be_disputed",
    ),
    Mutant(
        rule="a dispute is for who bought the task",
        file=FOREMEN,
        old="transaction.uow.tasks.locked(command.tasks) if task.foreman == foreman]\n            disputed",
        new="transaction.uow.tasks.locked(command.tasks)]\n            disputed",
        tests=f"{VERDICTS}::test_only_lost_tasks_of_ones_own_are_disputed",
    ),
    Mutant(
        rule="a dispute releases ciphertexts and key, and nothing else does but a win",
        file=REPLIES,
        old="wanted=wanted, confidence=finding.confidence)",
        new="wanted=wanted, confidence=finding.confidence, key=task.key)",
        tests=f"{VERDICTS}::test_a_dispute_pays_all_and_tells_all",
    ),
    Mutant(
        rule="a disputed task is not refunded",
        file=STATES,
        old="    (TaskState.WON, Event.COMMITMENT): TaskState.WON,",
        new="    (TaskState.WON, Event.COMMITMENT): TaskState.WON,\n"
        "    (TaskState.DISPUTED, Event.DEADLINE): TaskState.REFUNDED,",
        tests=f"{VERDICTS}::test_a_dispute_is_bought_once_and_ends_the_task",
    ),
)
