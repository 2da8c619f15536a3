from __future__ import annotations

from collections.abc import Callable

import pytest

from ec262.adapters.memory.entropy import SeededEntropy
from ec262.adapters.memory.unit_of_work import MemoryStore
from ec262.domain.discovery.accounts import Invitation
from ec262.domain.discovery.folding import Posting
from ec262.domain.discovery.ledger import Transfer, operator_grant
from ec262.domain.errors import AccountFrozen, InvitationRefused, NotAuthenticated
from ec262.domain.protocol.account_calls import History, HistoryEntry, HistoryQuery, OpenAccount, ReplaceToken
from ec262.domain.protocol.foreman_calls import BuyDisputes, DeliveryReports, PoolQuery, VerdictQuery
from ec262.domain.protocol.reason import Reason
from ec262.domain.protocol.token import token_digest
from ec262.domain.protocol.worker_calls import AssignmentQuery, CommitResults, GiveUp
from ec262.domain.verification.task_state import TaskState
from ec262.services.discovery.discovery_policy import Policy
from ec262.services.discovery.discovery_service import DiscoveryService
from ec262.services.discovery.replies import history_entry
from tests.discovery_town import (
    FOREMAN,
    NEWCOMER,
    REQUIREMENT,
    Town,
    build_town,
    more_replicas,
    order,
    registration,
    worker_token,
)

OTHER_TOKEN = "other-" + "o" * 40


def newcomers_town(grant: int) -> DiscoveryService:
    town = build_town()
    return DiscoveryService(
        unit_of_work=MemoryStore().unit_of_work,
        clock=town.clock,
        entropy=SeededEntropy(262),
        prober=town.prober,
        policy=Policy(grant=grant),
    )


def test_the_first_contact_opens_an_account_with_the_grant_and_the_next_finds_it() -> None:
    service = newcomers_town(grant=12)
    first = service.accounts.open(NEWCOMER)
    assert (first.credits, first.escrow) == (12, 0)
    assert service.accounts.open(NEWCOMER) == first
    assert service.audit() == 12


def test_an_operator_may_grant_nothing() -> None:
    service = newcomers_town(grant=0)
    assert service.accounts.open(NEWCOMER).credits == 0
    assert service.audit() == 0


def test_a_grant_of_its_own_comes_once() -> None:
    service = newcomers_town(grant=12)
    first = service.accounts.open_with_grant(NEWCOMER, 100)
    assert first.credits == 100
    assert service.accounts.open_with_grant(NEWCOMER, 100) == service.accounts.open(NEWCOMER) == first


def test_the_policy_is_the_default_one_if_none_is_given() -> None:
    town = build_town()
    service = DiscoveryService(
        unit_of_work=MemoryStore().unit_of_work,
        clock=town.clock,
        entropy=SeededEntropy(262),
        prober=town.prober,
    )
    assert service.accounts.open(NEWCOMER).credits == 12


def calls_of(town: Town, token: str) -> dict[str, Callable[[], object]]:
    """Every call that there is, but for opening an account."""
    accounts, workers, foremen = town.service.accounts, town.service.workers, town.service.foremen
    return {
        "status": lambda: accounts.status(token),
        "history": lambda: accounts.history(token, HistoryQuery()),
        "replace": lambda: accounts.replace_token(token, ReplaceToken(token=OTHER_TOKEN)),
        "close": lambda: accounts.close(token),
        "register": lambda: workers.register(token, registration(), source="127.0.0.1"),
        "leave": lambda: workers.leave(token),
        "assignments": lambda: workers.assignments(token, AssignmentQuery(tasks=("task-0001",))),
        "commit": lambda: workers.commit(token, CommitResults(commitments=())),
        "give up": lambda: workers.give_up(token, GiveUp(tasks=("task-0001",))),
        "pool": lambda: foremen.pool(token, PoolQuery(requirement=REQUIREMENT)),
        "buy": lambda: foremen.buy(token, order("purchase-x")),
        "add": lambda: foremen.add_replicas(token, more_replicas("task-0001")),
        "verdicts": lambda: foremen.verdicts(token, VerdictQuery(tasks=())),
        "dispute": lambda: foremen.dispute(token, BuyDisputes(tasks=("task-0001",))),
        "report": lambda: foremen.report(token, DeliveryReports(reports=())),
    }


LOOKING = {"status", "history", "pool", "verdicts"}
CALLS = sorted(calls_of(build_town(), FOREMAN))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("token", ["short", NEWCOMER])
def test_every_call_needs_an_account(token: str, call: str) -> None:
    with pytest.raises(NotAuthenticated):
        calls_of(build_town(), token)[call]()


@pytest.mark.parametrize("call", [call for call in CALLS if call != "close"])
def test_a_revoked_token_opens_nothing(call: str) -> None:
    town = build_town()
    town.service.accounts.close(FOREMAN)
    with pytest.raises(NotAuthenticated, match="revoked"):
        calls_of(town, FOREMAN)[call]()
    with pytest.raises(NotAuthenticated, match="revoked"):
        town.service.accounts.open(FOREMAN)


@pytest.mark.parametrize("call", CALLS)
def test_a_frozen_account_looks_and_leaves_and_does_nothing_else(call: str) -> None:
    town = build_town()
    town.freeze(FOREMAN)
    if call in LOOKING | {"leave"}:
        calls_of(town, FOREMAN)[call]()
    else:
        with pytest.raises(AccountFrozen):
            calls_of(town, FOREMAN)[call]()
    assert town.service.accounts.open(FOREMAN).frozen
    town.freeze(FOREMAN, frozen=False)
    calls_of(town, FOREMAN)[call]()


def test_freezing_stops_no_payment_and_no_refund() -> None:
    town = build_town(workers=6)
    (won, lost) = town.buy(order(tasks=2)).tasks
    town.commit(won, 0, "a")
    for token in (FOREMAN, town.tokens[won.replicas[0].worker]):
        town.freeze(token)
    town.commit(won, 1, "a")
    assert town.credits(town.tokens[won.replicas[0].worker]) == 1
    assert town.verdict(won).key is not None
    town.clock.advance(600)
    assert town.verdict(lost).state is TaskState.REFUNDED
    assert town.credits() == 9


# --- tokens ---------------------------------------------------------------------------------------------------------


def replace(town: Town, old: str, new: str) -> None:
    town.service.accounts.replace_token(old, ReplaceToken(token=new))


def test_a_new_token_opens_the_account_and_the_old_one_nothing() -> None:
    town = build_town(workers=3)
    before = town.service.accounts.status(FOREMAN)
    replace(town, FOREMAN, OTHER_TOKEN)
    assert town.service.accounts.status(OTHER_TOKEN) == before == town.service.accounts.open(OTHER_TOKEN)
    with pytest.raises(NotAuthenticated):
        town.service.accounts.status(FOREMAN)
    assert town.service.foremen.buy(OTHER_TOKEN, order()).price == 3


def test_a_replacement_can_be_repeated() -> None:
    town = build_town()
    before = town.service.accounts.status(FOREMAN)
    for _ in range(3):
        replace(town, FOREMAN, OTHER_TOKEN)
    replace(town, OTHER_TOKEN, OTHER_TOKEN)
    assert town.service.accounts.status(OTHER_TOKEN) == before


def test_a_new_token_has_to_be_new() -> None:
    town = build_town(workers=2)
    with pytest.raises(NotAuthenticated, match="used before"):
        replace(town, FOREMAN, worker_token(0))
    town.service.accounts.close(worker_token(1))
    with pytest.raises(NotAuthenticated, match="used before"):
        replace(town, FOREMAN, worker_token(1))
    assert town.credits() == 12


def test_a_replaced_token_opens_no_account() -> None:
    town = build_town()
    replace(town, FOREMAN, OTHER_TOKEN)
    for new in (NEWCOMER, FOREMAN):
        with pytest.raises(NotAuthenticated, match="revoked"):
            replace(town, FOREMAN, new)
    with pytest.raises(NotAuthenticated):
        town.service.accounts.status(NEWCOMER)


def test_closing_ends_access_and_lease_but_no_task() -> None:
    town = build_town(workers=6)
    (won, lost) = town.buy(order(tasks=2)).tasks
    leaver = town.tokens[won.replicas[0].worker]
    town.commit(won, 0, "a")
    for token in (leaver, FOREMAN):
        for _ in range(2):
            town.service.accounts.close(token)
    town.commit(won, 1, "a")
    town.clock.advance(600)
    town.service.sweep()
    with town.unit_of_work() as uow:
        assert uow.ledger.balance(f"user:{won.replicas[0].worker}") == 1
        assert len(uow.pool.alive(town.clock())) == 5
        assert [task.state for task in uow.tasks.find([won.task])] == [TaskState.SETTLED]
        (refunded,) = uow.tasks.find([lost.task])
        assert (refunded.state, uow.ledger.balance(f"user:{refunded.foreman}")) == (TaskState.REFUNDED, 9)


# --- invitations ----------------------------------------------------------------------------------------------------


def invite(town: Town, *, credits: int = 5, uses: int = 1, owner: str = "", expires_at: float | None = None) -> str:
    """Let the operator make an invitation; return its code."""
    code = f"invitation-{credits}-{uses}-{owner}".ljust(40, "i")
    with town.unit_of_work() as uow:
        uow.invitations.add(
            Invitation(
                id=f"id-{code}",
                code_digest=token_digest(code),
                credits=credits,
                uses_left=uses,
                owner=owner,
                expires_at=expires_at,
            )
        )
        uow.commit()
    return code


def redeem(town: Town, token: str, code: str) -> int:
    return town.service.accounts.open(token, OpenAccount(invitation=code)).credits


def test_an_invitation_opens_an_account_with_its_credits_once() -> None:
    town = build_town()
    code = invite(town)
    assert [redeem(town, NEWCOMER, code) for _ in range(3)] == [5, 5, 5]
    assert town.service.accounts.open(NEWCOMER, OpenAccount()).credits == 5
    assert town.service.audit() == 17


def test_an_invitation_adds_to_an_account_that_exists() -> None:
    town = build_town(policy=Policy(grant=2))
    code, other = invite(town, uses=2), invite(town, credits=3)
    assert redeem(town, FOREMAN, code) == 17
    assert redeem(town, NEWCOMER, code) == 7
    assert redeem(town, NEWCOMER, other) == 10


def test_a_used_up_invitation_opens_no_account() -> None:
    town = build_town()
    code = invite(town)
    redeem(town, FOREMAN, code)
    with pytest.raises(InvitationRefused):
        redeem(town, NEWCOMER, code)
    with pytest.raises(NotAuthenticated):
        town.service.accounts.status(NEWCOMER)
    assert redeem(town, FOREMAN, code) == 17
    assert town.service.audit() == 17


def test_an_invitation_runs_out_but_not_for_who_has_used_it() -> None:
    town = build_town()
    code = invite(town, uses=2, expires_at=town.clock() + 10)
    redeem(town, FOREMAN, code)
    town.clock.advance(10)
    with pytest.raises(InvitationRefused):
        redeem(town, NEWCOMER, code)
    assert redeem(town, FOREMAN, code) == 17


def test_an_unknown_invitation_is_not_used_up() -> None:
    town = build_town()
    with pytest.raises(InvitationRefused, match="does not exist"):
        redeem(town, FOREMAN, "x" * 40)
    shut = build_town(policy=Policy(grant=0, invitations=False))
    with pytest.raises(InvitationRefused, match="does not accept invitations"):
        redeem(shut, FOREMAN, invite(shut))
    assert (town.credits(), shut.credits()) == (12, 12)


def test_a_frozen_account_redeems_nothing() -> None:
    town = build_town()
    code = invite(town)
    town.freeze(FOREMAN)
    with pytest.raises(AccountFrozen):
        redeem(town, FOREMAN, code)
    town.freeze(FOREMAN, frozen=False)
    assert redeem(town, FOREMAN, code) == 17


def test_an_invitation_tells_whose_an_account_is() -> None:
    town = build_town(workers=1)
    redeem(town, worker_token(0), invite(town, owner="laboratory"))
    redeem(town, FOREMAN, invite(town))
    account = town.add_worker(0)
    with town.unit_of_work() as uow:
        member, known = uow.pool.get(account), uow.accounts.get(account)
        assert member is not None
        assert known is not None
        assert (member.owner, known.owner) == ("laboratory", "laboratory")
        boss = uow.accounts.by_token(token_digest(FOREMAN))
        assert boss is not None
        assert boss.owner == boss.id


# --- why do I have 7 credits? ---------------------------------------------------------------------------------------


def history(town: Town, token: str = FOREMAN, *, before: int | None = None, limit: int = 100) -> History:
    return town.service.accounts.history(token, HistoryQuery(before=before, limit=limit))


def test_every_movement_of_an_account_is_explained() -> None:
    town = build_town(workers=7, policy=Policy(grant=2))
    boss = town.service.accounts.status(FOREMAN).account
    redeem(town, FOREMAN, invite(town))
    with town.unit_of_work() as uow:
        uow.ledger.post([operator_grant(boss, 4, id="gift", at=town.clock())])
        uow.commit()
    (lost,) = town.buy(order("purchase-1")).tasks
    (disputed,) = town.buy(order("purchase-2", deadline_s=900.0)).tasks
    town.add_replicas(more_replicas(lost.task))
    for position in range(3):
        town.commit(disputed, position, f"result {position}")
    town.dispute(disputed)
    town.clock.advance(600)
    assert [(entry.change, entry.balance, entry.text) for entry in history(town).entries] == [
        (4, 18, f"refund: task {lost.task} was not won before its deadline"),
        (-1, 14, f"bought 1 replica of task {lost.task}"),
        (-3, 15, f"bought 3 replicas of task {disputed.task}"),
        (-3, 18, f"bought 3 replicas of task {lost.task}"),
        (4, 21, "granted by the operator"),
        (5, 17, "an invitation"),
        (12, 12, "starting credits"),
    ]
    (paid,) = (entry for entry in history(town, town.tokens[disputed.replicas[0].worker]).entries if entry.task)
    assert (paid.change, paid.reason) == (1, Reason.DISPUTE)
    assert paid.text == f"computed task {disputed.task}: no result won, and the foreman paid to compare them all"


def test_a_win_is_explained_to_its_winner() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    town.clock.advance(5)
    town.commit(task, 0, "a")
    town.commit(task, 1, "a")
    (entry,) = history(town, town.tokens[task.replicas[1].worker]).entries
    assert (entry.task, entry.change, entry.balance, entry.reason) == (task.task, 1, 1, Reason.WIN)
    assert (entry.text, entry.at) == (f"computed task {task.task}: the result won", town.clock())
    assert not history(town, town.tokens[task.replicas[2].worker]).entries


def test_a_history_is_read_page_by_page() -> None:
    town = build_town(workers=3)
    for number in range(4):
        town.buy(order(f"purchase-{number}", deadline_s=1))
        town.clock.advance(1)
    whole = history(town)
    assert (len(whole.entries), whole.more) == (9, False)
    pages: list[HistoryEntry] = []
    while True:
        page = history(town, before=pages[-1].position if pages else None, limit=2)
        pages += page.entries
        if not page.more:
            break
        assert len(page.entries) == 2
    assert tuple(pages) == whole.entries
    assert [entry.balance for entry in pages] == [12, 9] * 4 + [12]


def test_the_services_earnings_are_explained_to_its_operator() -> None:
    transfer = Transfer(
        id="deadline:t", debit="escrow:t", credit="service", amount=2, reason=Reason.UNPAID, task="t", at=7
    )
    entry = history_entry(Posting(position=3, entry=transfer, change=2, balance=9))
    assert entry.text == "task t: unearned shares of its workers"
