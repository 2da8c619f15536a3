"""Checks whether the books of a discovery service are consistent, and reports what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import attrs

from ec262.domain.discovery.folding import Fold
from ec262.domain.discovery.ledger import ESCROW, MINT, Transfer, escrow_account
from ec262.domain.discovery.tasks import Task

MAX_FINDINGS = 100
"""The maximum number of findings that are listed one by one."""


@attrs.frozen(kw_only=True)
class Audit:
    """The result of an audit: the credits ever ``granted``, the numbers of transfers and accounts checked, and a
    sentence for each error."""

    granted: int
    transfers: int
    accounts: int
    findings: tuple[str, ...]


def audit_books(
    balances: Mapping[str, int],
    transfers: Iterable[Transfer],
    tasks: Iterable[Task],
    *,
    escrow: int,
    folds: Iterable[Fold] = (),
) -> Audit:
    """Check balances, transfers, tasks and escrows against each other. ``folds`` are the sums of transfers that are no
    longer stored.

    ``tasks`` are all tasks named in a transfer, unless they are forgotten; ``escrow`` is what the tasks of all foremen
    hold in total.
    """
    sums: Counter[str] = Counter()
    count = 0
    for transfer in transfers:
        count += 1
        sums[transfer.debit] -= transfer.amount
        sums[transfer.credit] += transfer.amount
    folded = 0
    for fold in folds:
        # One side of each folded transfer is an escrow account: count the other side only.
        count += 0 if fold.account.startswith(ESCROW) else fold.movements
        folded += fold.change
        sums[fold.account] += fold.change
    held = {escrow_account(task.id): task.escrow for task in tasks}
    accounts = sorted(balances.keys() | sums.keys())
    findings = [
        *_sums(balances, folded),
        *(line for account in accounts for line in _account(account, balances, sums)),
        *(line for account in sorted(held.keys() | balances.keys()) for line in _escrow(account, balances, held)),
        *_total(balances, escrow),
    ]
    if len(findings) > MAX_FINDINGS:
        findings[MAX_FINDINGS:] = [f"... and {len(findings) - MAX_FINDINGS} more"]
    return Audit(granted=-balances.get(MINT, 0), transfers=count, accounts=len(accounts), findings=tuple(findings))


def _sums(balances: Mapping[str, int], folded: int) -> Iterable[str]:
    if folded:
        yield f"the folded transfers add up to {folded} credits, not 0"
    total = sum(balances.values())
    if total:
        yield f"the balances of all accounts add up to {total} credits, not 0"


def _account(account: str, balances: Mapping[str, int], sums: Mapping[str, int]) -> Iterable[str]:
    balance, moved = balances.get(account, 0), sums.get(account, 0)
    if balance != moved:
        yield f"{account} has {balance} credits, but its transfers add up to {moved}"
    if balance < 0 and account != MINT:
        yield f"{account} is overdrawn by {-balance}"


def _escrow(account: str, balances: Mapping[str, int], held: Mapping[str, int]) -> Iterable[str]:
    balance = balances.get(account, 0)
    if account in held:
        if balance != held[account]:
            yield f"{account} has {balance} credits, but its task holds {held[account]}"
    elif account.startswith(ESCROW) and balance:
        yield f"{account} has {balance} credits, but its task does not exist"


def _total(balances: Mapping[str, int], escrow: int) -> Iterable[str]:
    together = sum(balance for account, balance in balances.items() if account.startswith(ESCROW))
    if together != escrow:
        yield f"all escrow accounts together hold {together} credits, but the foremen's tasks hold {escrow}"
