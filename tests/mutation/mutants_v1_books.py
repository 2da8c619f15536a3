"""What becomes of old movements of credits."""

from __future__ import annotations

from tests.mutation.mutant import Mutant

BOOKS = "src/ec262/services/discovery/bookkeeping.py"
FOLDING = "src/ec262/domain/discovery/folding.py"
SQL = "src/ec262/adapters/sql/folds.py"
STATEMENTS = "src/ec262/adapters/sql/transfers.py"
AUDIT = "src/ec262/services/discovery/administration.py"

OF_BOOKS = "tests/unit/services/discovery/test_discovery_books.py"
OF_FOLDING = "tests/unit/domain/discovery/test_folding.py"
STORED = "tests/contract/test_old_movements_contract.py"

MUTANTS = (
    Mutant(
        rule="young movements are kept one by one",
        file=BOOKS,
        old="lambda row: row[1].at < oldest",
        new="lambda row: True",
        tests=f"{OF_BOOKS}::test_younger_records_are_left_alone",
    ),
    Mutant(
        rule="the last movement of the books stays",
        file=BOOKS,
        old="found[:-1]",
        new="found",
        tests=f"{OF_BOOKS}::test_nothing_is_polled_before_there_can_be_news",
    ),
    Mutant(
        rule="grants are not added up",
        file=SQL,
        old="    _transfers.c.reason != Reason.GRANT.value,\n",
        new="",
        tests=f"{STORED}::test_old_movements_leave_what_they_come_to",
    ),
    Mutant(
        rule="an escrow that is empty leaves nothing",
        file=SQL,
        old="    if escrows:",
        new="    if False:",
        tests=f"{STORED}::test_later_months_are_added_to_the_sum",
    ),
    Mutant(
        rule="each month has an entry of its own",
        file=FOLDING,
        old="else month_of(transfer.at)",
        new="else 202611",
        tests=f"{OF_FOLDING}::test_each_month_has_its_own",
    ),
    Mutant(
        rule="balances in histories count what was added up",
        file=STATEMENTS,
        old=" + _older_since()",
        new="",
        tests=f"{STORED}::test_old_movements_leave_what_they_come_to",
    ),
    Mutant(
        rule="the audit counts what was added up",
        file=AUDIT,
        old=", folds=uow.ledger.folds()",
        new="",
        tests=f"{OF_BOOKS}::test_old_movements_become_one_for_each_account_and_month",
    ),
)
