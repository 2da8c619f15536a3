"""What several service processes over one database must not do to each other, as the issue has it."""

from __future__ import annotations

from tests.mutation.mutant import Mutant

REPOSITORIES = "src/ec262/adapters/sql/repositories.py"
TASKS = "src/ec262/adapters/sql/task_tables.py"
KNOWN = "src/ec262/adapters/sql/engine/known_tasks.py"
LEDGER = "src/ec262/adapters/sql/ledger_tables.py"
TRANSACTIONS = "src/ec262/services/discovery/transactions.py"
ADMIN = "src/ec262/services/discovery/administration.py"

STORAGE = "tests/contract/test_unit_of_work_contract.py"
OF_KNOWN = "tests/integration/test_known_tasks.py"
OF_TASKS = "tests/contract/test_task_repository_contract.py"
RACES = "tests/integration/test_account_races.py"

MUTANTS = (
    Mutant(
        rule="several processes hand no worker out twice (double hand-out)",
        file=REPOSITORIES,
        old="        self._statements.lock(POOL_LOCK)",
        new="        pass",
        tests=f"{STORAGE}::test_the_pool_is_drawn_from_by_one_at_a_time",
    ),
    Mutant(
        rule="several processes take all commitments and pay each once",
        file=TASKS,
        old='.where(one_of(_tasks.c.id, "ids")).order_by(_tasks.c.id).with_for_update()',
        new='.where(one_of(_tasks.c.id, "ids")).order_by(_tasks.c.id)',
        tests=f"{OF_TASKS}::test_commitments_at_once_are_all_taken_and_paid",
    ),
    Mutant(
        rule="several processes apply a deadline once",
        file=TASKS,
        old='    .limit(bindparam("most"))\n    .with_for_update(skip_locked=True)\n)\n_OVER',
        new='    .limit(bindparam("most"))\n)\n_OVER',
        tests=f"{OF_TASKS}::test_a_deadline_is_applied_by_one",
    ),
    Mutant(
        rule="several processes lose no credit",
        file=LEDGER,
        old="    .order_by(_balances.c.account)\n    .with_for_update()\n)",
        new="    .order_by(_balances.c.account)\n)",
        tests=f"{STORAGE}::test_balances_that_nobody_locked_lose_nothing",
    ),
    Mutant(
        rule="several processes make no credit: what one reads to spend, no other spends",
        file=LEDGER,
        old="_LOCKED_BALANCE = _BALANCE.with_for_update()",
        new="_LOCKED_BALANCE = _BALANCE",
        tests=f"{STORAGE}::test_a_locked_balance_is_spent_by_one",
    ),
    Mutant(
        rule="several processes take an invitation as often as it says",
        file=REPOSITORIES,
        old='_invitations.c.code_digest == bindparam("digest")).with_for_update()',
        new='_invitations.c.code_digest == bindparam("digest"))',
        tests=f"{STORAGE}::test_an_invitation_is_used_once",
    ),
    Mutant(
        rule="a token that was revoked opens nothing in a database either",
        file=REPOSITORIES,
        old='.where(_tokens.c.digest == bindparam("digest"), ~_tokens.c.revoked)',
        new='.where(_tokens.c.digest == bindparam("digest"))',
        tests=f"{STORAGE}::test_an_account_may_have_several_tokens_and_loses_all_of_them",
    ),
    Mutant(
        rule="the same id twice is one movement in a database, too",
        file=LEDGER,
        old='            for row in self._statements.fetch(_POSTED, {"ids": self._unchecked}):',
        new="            for row in []:",
        tests=f"{STORAGE}::test_an_id_is_one_movement",
    ),
    Mutant(
        rule="several processes over one SQLite file decide by what is stored, not by what one of them remembers",
        file=KNOWN,
        old="    if connection.info.get(_VERSION) != version:",
        new="    if connection.info.setdefault(_VERSION, version) is None:",
        tests=f"{OF_KNOWN}::test_writes_of_another_process_are_read_again",
    ),
    Mutant(
        rule="what was not committed is as if it had never been, in memory too",
        file=KNOWN,
        old="        self._keep(MOST if self._is_durable else 0)",
        new="        self._keep(MOST)",
        tests=f"{OF_KNOWN}::test_rolled_back_reputations_are_unknown",
    ),
    Mutant(
        rule="of two who replace a token at once, one does",
        file=TRANSACTIONS,
        old="        self.uow.accounts.lock(self.account(token).id)\n",
        new="",
        tests=f"{RACES}::test_of_two_new_tokens_one_opens_the_account",
    ),
    Mutant(
        rule="an account that is frozen stays frozen, whoever writes it at that moment",
        file=ADMIN,
        old="            uow.accounts.lock(account)\n",
        new="",
        tests=f"{RACES}::test_an_account_frozen_while_an_invitation_pays_stays_frozen",
    ),
)
