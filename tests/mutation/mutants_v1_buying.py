"""Buying and drawing, as trust.md has them."""

from __future__ import annotations

from tests.mutation.mutant import Mutant

TASKS = "src/ec262/domain/discovery/tasks.py"
POOL = "src/ec262/domain/discovery/pool/pool.py"
CREW = "src/ec262/domain/discovery/pool/teams.py"
DRAW = "src/ec262/domain/discovery/pool/draw.py"
URNS = "src/ec262/domain/discovery/pool/sampler.py"
PURCHASES = "src/ec262/domain/discovery/purchases.py"
VERIFICATION = "src/ec262/domain/verification/rules.py"
FOREMEN = "src/ec262/services/discovery/for_foremen.py"
REPLIES = "src/ec262/services/discovery/replies.py"
MEMORY = "src/ec262/adapters/memory/unit_of_work.py"

BUYING = "tests/unit/services/discovery/test_discovery_purchases.py"
ADDING = "tests/unit/services/discovery/test_discovery_replicas.py"
WORKING = "tests/unit/services/discovery/test_discovery_workers.py"
OF_TASKS = "tests/unit/domain/discovery/test_tasks.py"
OF_POOL = "tests/unit/domain/discovery/test_pool.py"
OF_DRAW = "tests/unit/domain/discovery/test_draw.py"
OF_PURCHASES = "tests/unit/domain/discovery/test_purchases.py"
OF_RULES = "tests/unit/domain/verification/test_verification.py"

PURCHASE = (
    Mutant(
        rule="one call with one id buys once, however often it is made",
        file=FOREMEN,
        old="record = transaction.uow.purchases.get(command.purchase)",
        new="record = None",
        tests=f"{BUYING}::test_a_repeated_purchase_has_the_same_reply_and_moves_nothing",
    ),
    Mutant(
        rule="a purchase id stands for one command (purchase id reused)",
        file=PURCHASES,
        old=" or self.command_digest not in _known_digests(command)",
        new="",
        tests=OF_PURCHASES,
    ),
    Mutant(
        rule="a purchase can be repeated after an upgrade",
        file=PURCHASES,
        old="DIGEST_VERSION + json.dumps(_values(command), sort_keys=True).encode()",
        new="repr(command).encode()",
        tests=f"{OF_PURCHASES}::test_a_digest_is_the_same_in_every_release",
    ),
    Mutant(
        rule="a purchase id belongs to who made it",
        file=PURCHASES,
        old="self.foreman != foreman or ",
        new="",
        tests=f"{OF_PURCHASES} {BUYING}::test_a_purchase_id_stands_for_one_purchase",
    ),
    Mutant(
        rule="a purchase id that moved credits stays used when its tasks are forgotten",
        file=MEMORY,
        old="if record.forgotten_at <= now and record.price == 0:",
        new="if record.forgotten_at <= now:",
        tests=f"{BUYING}::test_a_purchase_id_is_not_used_again_when_its_tasks_are_forgotten",
    ),
    Mutant(
        rule="the reply to a repeated purchase is not one of fewer tasks",
        file=REPLIES,
        old="    if len(bought) < record.tasks:",
        new="    if False:",
        tests=f"{BUYING}::test_a_purchase_id_is_not_used_again_when_its_tasks_are_forgotten",
    ),
    Mutant(
        rule="the replicas' credits move into the task's escrow",
        file=FOREMEN,
        old="        uow.ledger.post(transfers)\n",
        new="",
        tests=f"{BUYING}::test_buying_draws_workers_and_moves_their_credits_into_escrow",
    ),
    Mutant(
        rule="only what is assigned is paid (remainder charged)",
        file=FOREMEN,
        old="price=sum(map(len, selection.teams)), tasks=len(selection.teams))",
        new="price=command.tasks * rule.team(), tasks=len(selection.teams))",
        tests=f"{BUYING}::test_the_purse_need_not_cover_what_is_not_assigned",
    ),
    Mutant(
        rule="a credit is paid for a replica once, by the purchase that brought it",
        file=TASKS,
        old="amount=sum(replica.purchase == purchase for replica in task.replicas),",
        new="amount=len(task.replicas),",
        tests=f"{OF_TASKS}::test_a_purchase_pays_for_its_own_replicas_alone",
    ),
    Mutant(
        rule="who cannot pay gets nothing",
        file=FOREMEN,
        old="        if price > have:",
        new="        if False:",
        tests=f"{BUYING}::test_too_poor_for_what_would_be_assigned_is_an_error_and_nothing_happens",
    ),
    Mutant(
        rule="the reply says what is missing and why",
        file=FOREMEN,
        old="        shortfall = pool.shortfall(selection.lot, assigned=len(bought))",
        new='        shortfall = ""',
        tests=f"{BUYING}::test_only_what_is_assigned_is_paid",
    ),
    Mutant(
        rule="open escrows are capped per account (cap ignored)",
        file=FOREMEN,
        old="        if held.credits + price > self._policy.max_escrow:",
        new="        if price > self._policy.max_escrow:",
        tests=f"{BUYING}::test_credits_in_escrow_are_capped",
    ),
    Mutant(
        rule="open tasks are capped per account",
        file=FOREMEN,
        old="        if held.tasks + tasks > self._policy.max_open_tasks:",
        new="        if tasks > self._policy.max_open_tasks:",
        tests=f"{BUYING}::test_open_tasks_are_capped",
    ),
    Mutant(
        rule="the key has 32 bytes",
        file=TASKS,
        old="KEY_BYTES = 32",
        new="KEY_BYTES = 16",
        tests=f"{WORKING}::test_the_assigned_read_key_and_secrets",
    ),
    Mutant(
        rule="each replica has an assignment secret of its own",
        file=FOREMEN,
        old="                    secret=secrets[at : at + size],",
        new="                    secret=bytes(size),",
        tests=f"{BUYING}::test_buying_draws_workers_and_moves_their_credits_into_escrow",
    ),
    Mutant(
        rule="each replica has a delivery secret of its own",
        file=FOREMEN,
        old="                    delivery_secret=secrets[at + size : at + 2 * size],",
        new="                    delivery_secret=bytes(size),",
        tests=f"{WORKING}::test_the_assigned_read_key_and_secrets",
    ),
    Mutant(
        rule="the delivery secret is told to nobody yet: the worker gets its SHA-256 (delivery secret told early)",
        file=REPLIES,
        old="        delivery_digest=replica.delivery_digest,",
        new="        delivery_digest=replica.delivery_secret,",
        tests="tests/unit/services/test_discovery_verdicts.py::test_after_a_win_the_key_the_digest_and_the_winners_are_revealed",
    ),
    Mutant(
        rule="workers are not told who else is assigned (partners told to workers)",
        file=REPLIES,
        old="        secret=replica.secret,\n        delivery_digest",
        new='        secret=b"".join(each.secret for each in task.replicas),\n        delivery_digest',
        tests=f"{WORKING}::test_the_assigned_read_key_and_secrets",
    ),
    Mutant(
        rule="a task is remembered for 24 h after its deadline",
        file=FOREMEN,
        old="            forgotten_at=deadline + self._policy.retention_s,",
        new="            forgotten_at=deadline,",
        tests=f"{WORKING}::test_the_assigned_read_key_and_secrets",
    ),
    Mutant(
        rule="a majority is more than half of the replicas, and no more than all",
        file=VERIFICATION,
        old="        if not self.replicas < 2 * value <= 2 * self.replicas:",
        new="        if not self.replicas <= 2 * value <= 2 * self.replicas:",
        tests=OF_RULES,
    ),
)

DRAWING = (
    Mutant(
        rule="drawn are those whose lease is alive",
        file=MEMORY,
        old="if member.expires_at > now]",
        new="]",
        tests=f"{WORKING}::test_an_expired_lease_is_probed_again",
    ),
    Mutant(
        rule="drawn are those whose runtime fits",
        file=POOL,
        old="                if id(member.runtime) in fitting\n                and",
        new="                if",
        tests=OF_POOL,
    ),
    Mutant(
        rule="added are those whose results can be compared",
        file=POOL,
        old="        comparable = _runtimes(eligible, lambda runtime: runtime == lot.runtime)",
        new="        comparable = _runtimes(eligible, lambda runtime: True)",
        tests=OF_POOL,
    ),
    Mutant(
        rule="drawn are those who have the packages",
        file=POOL,
        old="            and member.packages.issuperset(requirement.packages)\n",
        new="",
        tests=OF_POOL,
    ),
    Mutant(
        rule="a foreman is not its own worker",
        file=POOL,
        old="                and member.worker != foreman\n",
        new="",
        tests=f"{OF_POOL}::test_a_foreman_does_not_draw_itself {BUYING}::test_a_foreman_is_not_its_own_worker",
    ),
    Mutant(
        rule="no account twice (same account twice in a team)",
        file=URNS,
        old="        if member is not None:\n            self.take(member)\n",
        new="",
        tests=f"{BUYING}::test_no_worker_is_twice_in_a_team_even_if_all_have_one_owner",
    ),
    Mutant(
        rule="no account twice, added replicas included",
        file=FOREMEN,
        old="            company=frozenset(replica.worker for replica in task.replicas),",
        new="            company=frozenset(),",
        tests=f"{ADDING}::test_more_workers_get_the_same_key_and_can_bring_the_win "
        f"{ADDING}::test_added_workers_are_of_the_same_kind",
    ),
    Mutant(
        rule="a team is of one runtime class, added replicas included",
        file=FOREMEN,
        old="            runtime=task.runtime,\n        )\n\n    def _recorded",
        new="        )\n\n    def _recorded",
        tests=f"{ADDING}::test_added_workers_are_of_the_same_kind",
    ),
    Mutant(
        rule="workers are drawn at random",
        file=URNS,
        old='        return int.from_bytes(self._entropy.token(_LOT_BYTES), "big") % below',
        new="        return 0",
        tests=f"{OF_DRAW}::test_everybody_is_drawn_equally_often",
    ),
    Mutant(
        rule="different owners and address blocks are preferred",
        file=CREW,
        old="        self._preferences = [level for level in LEVELS if level >= ties and self._discriminates(level)]",
        new="        self._preferences = [ties]",
        tests=f"{OF_DRAW}::test_where_no_team_can_be_apart_it_has_as_few_ties_as_can_be",
    ),
    Mutant(
        rule="different owners and address blocks can be made a condition",
        file=DRAW,
        old="(level for level in LEVELS if level >= lot.apart)",
        new="LEVELS",
        tests=f"{OF_DRAW}::test_a_tie_that_is_a_condition_is_in_no_team",
    ),
    Mutant(
        rule="the operator's condition reaches the draw",
        file=FOREMEN,
        old="            apart=self._policy.apart,\n        )\n        selection",
        new="        )\n        selection",
        tests=f"{BUYING}::test_the_operator_may_keep_workers_of_one_block_apart",
    ),
    Mutant(
        rule="the operator's condition reaches the draw of added replicas",
        file=FOREMEN,
        old="            apart=self._policy.apart,\n            company",
        new="            company",
        tests=f"{ADDING}::test_the_operator_may_keep_added_workers_apart",
    ),
    Mutant(
        rule="a worker is drawn for no more tasks than it has slots (double hand-out)",
        file=POOL,
        old="        free = member.slots - self.busy.get(member.worker, 0)",
        new="        free = member.slots",
        tests=f"{BUYING}::test_busy_workers_are_eligible_but_have_no_slots",
    ),
    Mutant(
        rule="who still computes what is won is busy",
        file=FOREMEN,
        old="taken = Counter(uow.tasks.busy(now)) + Counter(late)",
        new="taken = uow.tasks.busy(now)",
        tests=f"{WORKING}::test_a_worker_computing_a_won_task_is_busy_until_it_commits_or_gives_up",
    ),
    Mutant(
        rule="what was assigned to a worker's process that has ended takes no slot",
        file=FOREMEN,
        old="slots.get((each.worker, each.address.fingerprint), 0)",
        new="sum(count for (worker, _), count in slots.items() if worker == each.worker)",
        tests=f"{WORKING}::test_a_restarted_worker_has_all_its_slots",
    ),
    Mutant(
        rule="who still computes what is won is drawn only where there are too few others",
        file=DRAW,
        old="    return _drawn(pool.regardless_of_late(), lot, entropy)",
        new="    return teams",
        tests=f"{WORKING}::test_workers_computing_won_tasks_are_drawn_if_there_are_too_few_others",
    ),
    Mutant(
        rule="who still computes what is won is waited for where there are enough others",
        file=DRAW,
        old="not lot.tasks or _drawn(pool.all_punctual(lot), attrs.evolve(lot, tasks=1), entropy):",
        new="not lot.tasks:",
        tests=f"{OF_DRAW}::test_others_who_are_busy_are_waited_for",
    ),
    Mutant(
        rule="the orders of one call share the free slots (double hand-out)",
        file=FOREMEN,
        old="            pool = pool.taken(team)\n",
        new="",
        tests=f"{ADDING}::test_orders_share_the_free_slots",
    ),
    Mutant(
        rule="who is assigned and computes is busy",
        file=TASKS,
        old="(self.fetched or now < self.drawn_at + claim_s)",
        new="now < self.drawn_at + claim_s",
        tests=f"{OF_TASKS}::test_a_worker_that_does_not_ask_is_free_after_a_while",
    ),
    Mutant(
        rule="who buys and sends nothing blocks nobody for long (claim window)",
        file=TASKS,
        old="self.outstanding and (self.fetched or now < self.drawn_at + claim_s)",
        new="self.outstanding",
        tests=f"{OF_TASKS}::test_a_worker_that_does_not_ask_is_free_after_a_while",
    ),
    Mutant(
        rule="who buys with a near deadline and sends nothing blocks nobody for long (share of the time)",
        file=TASKS,
        old="min(CLAIM_S, CLAIM_FRACTION * (deadline - self.drawn_at))",
        new="CLAIM_S",
        tests=f"{OF_TASKS}::test_a_worker_that_does_not_ask_is_free_after_a_tenth_of_the_time_if_that_is_shorter",
    ),
    Mutant(
        rule="to ask for a part is noted",
        file=TASKS,
        old="    return task if replica.fetched else _with_replica(task, fast_evolve(replica, fetched=True))",
        new="    return task",
        tests=f"{WORKING}::test_a_worker_that_asked_for_its_part_stays_busy_and_others_become_free",
    ),
)

MUTANTS = (*PURCHASE, *DRAWING)
