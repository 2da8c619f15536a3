"""The rules of ``/v1``, each broken in the code, with the tests that notice."""

from __future__ import annotations

from tests.mutation import (
    mutants_v1_accounts,
    mutants_v1_books,
    mutants_v1_buying,
    mutants_v1_no_win,
    mutants_v1_peers,
    mutants_v1_reputations,
    mutants_v1_storage,
    mutants_v1_tasks,
)

MUTANTS = (
    *mutants_v1_buying.MUTANTS,
    *mutants_v1_tasks.MUTANTS,
    *mutants_v1_no_win.MUTANTS,
    *mutants_v1_accounts.MUTANTS,
    *mutants_v1_peers.MUTANTS,
    *mutants_v1_storage.MUTANTS,
    *mutants_v1_reputations.MUTANTS,
    *mutants_v1_books.MUTANTS,
)
