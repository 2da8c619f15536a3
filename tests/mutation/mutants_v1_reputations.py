"""What discovery knows of workers, and what is won by one worker's word alone, as trust.md has it."""

from __future__ import annotations

from tests.mutation.mutant import Mutant

TASKS = "src/ec262/domain/discovery/tasks.py"
STANDING = "src/ec262/domain/discovery/reputation.py"
SELECTION = "src/ec262/domain/discovery/selection.py"
VERIFICATION = "src/ec262/domain/verification/rules.py"
STEERING = "src/ec262/domain/discovery/pool/steering.py"
WITNESSES = "src/ec262/services/discovery/witnesses.py"
STANDINGS = "src/ec262/services/discovery/reputations.py"
FOREMEN = "src/ec262/services/discovery/for_foremen.py"
SQL = "src/ec262/adapters/sql/reputation_tables.py"

JOB_TASK = "src/ec262/domain/foreman/run/running_task.py"

OF_CLAIMS = "tests/unit/domain/foreman/test_job_run_claims.py"
OF_STANDING = "tests/unit/domain/discovery/test_reputation.py"
OF_STEERING = "tests/unit/domain/discovery/test_steering.py"
OF_SELECTION = "tests/unit/domain/discovery/test_selection.py"
OF_RULES = "tests/unit/domain/verification/test_verification.py"
SERVICE = "tests/unit/services/discovery/test_discovery_reputations.py"
STORED = "tests/contract/test_reputation_repository_contract.py"

MUTANTS = (
    Mutant(
        rule="audits never stop",
        file=SELECTION,
        old="    audited = [_chance(audit, entropy) for _ in teams]",
        new="    audited = [False for _ in teams]",
        tests=f"{OF_SELECTION}::test_audits_never_stop",
    ),
    Mutant(
        rule="newcomers are trained by audits",
        file=SELECTION,
        old="    training = checks and ",
        new="    training = False and ",
        tests=f"{OF_SELECTION}::test_audits_are_for_newcomers_mostly",
    ),
    Mutant(
        rule="an audited task is not decided by one worker alone",
        file=VERIFICATION,
        old="        doubted = audited or len(ballots) > 1",
        new="        doubted = len(ballots) > 1",
        tests=f"{OF_RULES}::test_an_audited_task_is_not_decided_by_one_worker_alone",
    ),
    Mutant(
        rule="against a contradiction one worker's word does not suffice",
        file=VERIFICATION,
        old="        doubted = audited or len(ballots) > 1",
        new="        doubted = (audited and len(ballots) == 1)",
        tests=f"{OF_RULES}::test_no_worker_however_well_known_suffices_alone_against_a_contradiction",
    ),
    Mutant(
        rule="one proven lie resets credibility",
        file=STANDING,
        old="                self.own,\n                agreed=0.0,",
        new="                self.own,",
        tests=f"{OF_STANDING}::test_one_lie_resets_it",
    ),
    Mutant(
        rule="a lie voids what other foremen knew",
        file=STANDING,
        old="general.caught_at is not None and own.as_of <= general.caught_at",
        new="False",
        tests=f"{OF_STANDING}::test_a_lie_voids_what_other_foremen_knew",
    ),
    Mutant(
        rule="what one foreman can contribute is capped",
        file=STANDING,
        old="min(times * evidence.weight, max(0.0, FOREMAN_CAP - own.contributed))",
        new="times * evidence.weight",
        tests=f"{OF_STANDING}::test_a_foremans_contribution_to_reputation_is_capped",
    ),
    Mutant(
        rule="everybody learns only from draws that were made from most of the pool",
        file=STEERING,
        old="self._shares[runtime] >= OPEN - 1e-9",
        new="True",
        tests=f"{OF_STEERING}::test_a_draw_is_open_only_if_most_of_the_pool_can_be_drawn",
    ),
    Mutant(
        rule="everybody learns nothing where workers were avoided",
        file=STEERING,
        old="        self._avoids = bool(lot.avoid)",
        new="        self._avoids = False",
        tests=f"{OF_STEERING}::test_a_draw_that_avoids_anybody_is_not_open",
    ),
    Mutant(
        rule="many accounts of one block are one part of the pool",
        file=STEERING,
        old="1 / (len(owners) * len(group)) for block, group",
        new="1 / sum(map(len, owners.values())) for block, group",
        tests=f"{OF_STEERING}::test_many_accounts_of_one_block_count_as_one",
    ),
    Mutant(
        rule="agreement within a block is worth less",
        file=STEERING,
        old="    worth = SAME_BLOCK if worker.block == other.block else 1.0",
        new="    worth = 1.0",
        tests=f"{OF_STEERING}::test_agreement_is_worth_the_less_the_more_workers_have_to_do_with_each_other",
    ),
    Mutant(
        rule="agreement with the same partners again is worth less",
        file=STEERING,
        old="worth / (1 << recent.get(other.tag, 0))",
        new="worth",
        tests=f"{OF_STEERING}::test_agreement_is_worth_the_less_the_more_workers_have_to_do_with_each_other",
    ),
    Mutant(
        rule="whoever belongs to the foreman vouches for nobody",
        file=STEERING,
        old="if not related(each, foreman)]",
        new="]",
        tests=f"{OF_STEERING}::test_agreement_is_worth_the_less_the_more_workers_have_to_do_with_each_other",
    ),
    Mutant(
        rule="one foreman's accusation binds that foreman alone",
        file=STANDING,
        old="    if len(accusers) < max(ACCUSERS, 1 + math.floor(general.agreed / WORTH_AN_ACCUSER)):",
        new="    if False:",
        tests=f"{OF_STANDING}::test_everybody_goes_by_a_dissent_only_if_several_foremen_accuse",
    ),
    Mutant(
        rule="the more is known of a worker, the more foremen have to accuse it",
        file=STANDING,
        old="max(ACCUSERS, 1 + math.floor(general.agreed / WORTH_AN_ACCUSER))",
        new="ACCUSERS",
        tests=f"{OF_STANDING}::test_the_more_is_known_of_a_worker_the_more_foremen_have_to_accuse_it",
    ),
    Mutant(
        rule="a steered task accuses nobody before others",
        file=WITNESSES,
        old="if task.steered or lesson is Lesson.MISSED:",
        new="if lesson is Lesson.MISSED:",
        tests="tests/integration/test_bought_reputation.py::test_friends_cannot_give_others_a_bad_name",
    ),
    Mutant(
        rule="strangers who have to agree are drawn while most of them are free",
        file=STEERING,
        old="return [team for team in teams if openness.take(team)]",
        new="return list(teams)",
        tests=f"{OF_SELECTION}::test_strangers_are_not_drawn_where_only_few_of_them_are_free",
    ),
    Mutant(
        rule="strangers who have to agree are of different blocks",
        file=SELECTION,
        old="    return attrs.evolve(lot, apart=lot.apart.union(ties))",
        new="    return lot",
        tests=f"{OF_SELECTION}::test_a_flood_of_accounts_in_one_block_gets_one_place_of_a_team",
    ),
    Mutant(
        rule="with anchors, all trust descends from them",
        file=STANDING,
        old="for each in won if not anchored or trusts[each.worker].agreed >= ESTABLISHED]",
        new="for each in won]",
        tests=f"{OF_STANDING}::test_where_there_are_anchors_an_agreement_shows_something_only_beside_the_established",
    ),
    Mutant(
        rule="with anchors, only the established begin",
        file=SELECTION,
        old="few = not company.anchored and ",
        new="few = ",
        tests=f"{OF_SELECTION}::test_where_there_are_anchors_only_the_established_begin",
    ),
    Mutant(
        rule="a team of strangers is drawn from blocks, not from accounts",
        file=SELECTION,
        old="    if Tie.BLOCK not in lot.apart:",
        new="    if True:",
        tests=f"{OF_SELECTION}::test_a_flood_of_accounts_in_few_blocks_is_drawn_as_few",
    ),
    Mutant(
        rule="credibility decays",
        file=STANDING,
        old="        return math.exp2(-age_s / HALF_LIFE_S) if age_s > 0 else 1.0",
        new="        return 1.0",
        tests=f"{OF_STANDING}::test_right_results_of_long_ago_count_less",
    ),
    Mutant(
        rule="a lie of one that was known well raises an alarm",
        file=STANDING,
        old="alarmed_at=now if alarming else",
        new="alarmed_at=now if False else",
        tests=f"{OF_STANDING}::test_the_lie_of_one_that_was_known_well_raises_an_alarm",
    ),
    Mutant(
        rule="an alarm is the foreman's alone in whose task it was raised",
        file=SQL,
        old='since"), one_of(_reputations.c.foreman, "foremen"))\n    .group_by',
        new='since"))\n    .group_by',
        tests=f"{STORED}::test_the_last_alarm_of_each_foreman_is_returned",
    ),
    Mutant(
        rule="an alarm stands for thirty days",
        file=STANDINGS,
        old="uow.reputations.alarms(foremen, now - ALARM_S)",
        new="uow.reputations.alarms(foremen, 0.0)",
        tests=f"{SERVICE}::test_an_alarm_is_the_foremans_whose_task_it_was_and_ends",
    ),
    Mutant(
        rule="one worker's word that the code failed ends no job",
        file=JOB_TASK,
        old="return self.rule.weighs_trust and self.verdict is not None and len(self.verdict.winners) < 2",
        new="return False",
        tests=f"{OF_CLAIMS}::test_one_workers_claim_that_the_code_failed_is_checked_by_another",
    ),
    Mutant(
        rule="to hit a limit where others do not is no lie",
        file=STANDING,
        old="return Lesson.MISSED if replica.stopped else Lesson.DISSENTED",
        new="return Lesson.DISSENTED",
        tests="tests/unit/domain/discovery/test_reputation.py::test_hitting_a_limit_that_others_do_not_is_not_a_lie",
    ),
    Mutant(
        rule="a limit that won shows nothing of anybody",
        file=STANDING,
        old="if any(each.stopped for each in won):",
        new="if False:",
        tests="tests/unit/domain/discovery/test_reputation.py::test_a_limit_that_won_shows_nothing_of_anybody",
    ),
    Mutant(
        rule="two whom nobody knows prove no lie",
        file=STANDING,
        old="    if not replicas or _certainty(after, trusts) < SURE:",
        new="    if not replicas:",
        tests=f"{OF_STANDING}::test_two_unknown_workers_do_not_prove_that_a_third_lied",
    ),
    Mutant(
        rule="who won alone agreed with whoever confirms an accepted win",
        file=STANDING,
        old="return supporters + new if len(supporters) == 1 else new",
        new="return new",
        tests=f"{OF_STANDING}::test_the_confirmation_of_an_accepted_win_shows_both_once",
    ),
    Mutant(
        rule="of a batch, lies are learned last",
        file=STANDINGS,
        old="sorted(weighed, key=lambda item: item[0] is Lesson.DISSENTED)",
        new="sorted(weighed, key=lambda item: item[0] is not Lesson.DISSENTED)",
        tests=f"{SERVICE}::test_lies_come_last_in_what_a_batch_shows",
    ),
    Mutant(
        rule="the pay of a lone win is held",
        file=TASKS,
        old="    return (won, ()) if finding.alone else _pay_winners(won, at=now)",
        new="    return _pay_winners(won, at=now)",
        tests=f"{SERVICE}::test_a_lone_win_is_provisional_its_result_is_there_and_its_pay_is_held",
    ),
    Mutant(
        rule="what a worker won alone is opened again when it is caught",
        file=FOREMEN,
        old="            doubted = doubtful(transaction.uow, own)",
        new="            doubted = set[str]()",
        tests=f"{SERVICE}::test_lone_wins_of_a_worker_caught_since_it_was_drawn_are_reopened",
    ),
    Mutant(
        rule="whose key was told gives no credits back",
        file=TASKS,
        old="    if task.released:",
        new="    if False:",
        tests=f"{SERVICE}::test_once_the_key_is_out_credits_are_not_refunded",
    ),
    Mutant(
        rule="a lone win that nobody accepted is accepted by its deadline",
        file=TASKS,
        old="    if task.state is TaskState.PROVISIONAL:\n",
        new="    if False:\n",
        tests=f"{SERVICE}::test_without_an_acceptance_the_deadline_accepts",
    ),
    Mutant(
        rule="only one's own wins are accepted",
        file=FOREMEN,
        old="if task.foreman == foreman]\n            doubted",
        new="]\n            doubted",
        tests=f"{SERVICE}::test_only_ones_own_provisional_wins_are_accepted",
    ),
    Mutant(
        rule="who was caught is not believed in what is open",
        file=TASKS,
        old="distrust(committed, liars)",
        new="committed",
        tests=f"{SERVICE}::test_a_caught_worker_is_not_believed_in_open_tasks",
    ),
    Mutant(
        rule="no lesson is lost by those who learn at once",
        file=SQL,
        old="        self._statements.change_each(_MAKE, _NAMES, [_row(blank[key]) for key in sorted(blank)])\n",
        new="",
        tests=f"{STORED}::test_no_lesson_is_lost_by_those_who_learn_at_once",
    ),
)
