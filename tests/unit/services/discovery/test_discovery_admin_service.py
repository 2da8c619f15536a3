"""The operator's use cases, over a service that is in the middle of things."""

from __future__ import annotations

from functools import partial

import attrs
import pytest

from ec262.adapters.memory.entropy import SeededEntropy
from ec262.adapters.memory.unit_of_work import MemoryStore
from ec262.domain.discovery import ledger
from ec262.domain.errors import AccountFrozen, InvalidRequest, InvitationRefused, NotAuthenticated
from ec262.domain.protocol.account_calls import OpenAccount
from ec262.domain.protocol.foreman_calls import PoolQuery
from ec262.services.discovery import administration
from ec262.services.discovery.administration import DiscoveryAdmin
from tests.discovery_town import FOREMAN, REQUIREMENT, Town, build_town, order, worker_token

NEWCOMER = "newcomer-" + "n" * 40


@attrs.define
class Office:
    """A town, and its operator."""

    town: Town
    store: MemoryStore
    admin: DiscoveryAdmin
    foreman: str


@pytest.fixture
def office() -> Office:
    store = MemoryStore()
    town = build_town(workers=4, unit_of_work=store.unit_of_work)
    admin = DiscoveryAdmin(
        unit_of_work=store.unit_of_work, snapshot=store.unit_of_work, clock=town.clock, entropy=SeededEntropy(7)
    )
    return Office(town=town, store=store, admin=admin, foreman=town.service.accounts.open(FOREMAN).account)


def test_accounts_are_listed_with_their_balances(office: Office) -> None:
    office.town.buy_one()
    views = {view.account: view for view in office.admin.accounts()}
    assert len(views) == 5
    assert list(views) == sorted(views)
    foreman = views[office.foreman]
    assert (foreman.credits, foreman.escrow, foreman.open_tasks, foreman.frozen) == (9, 3, 1, False)
    assert (foreman.owner, foreman.opened_at) == (office.foreman, office.town.clock.now)
    assert office.admin.account(office.foreman) == foreman


@pytest.mark.parametrize("page", [1, 2, 5])
def test_accounts_come_in_pages(office: Office, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    everybody = office.admin.accounts()
    monkeypatch.setattr(administration, "PAGE", page)
    assert office.admin.accounts() == everybody
    assert office.admin.audit().findings == ()


def test_a_missing_account_is_reported_by_name(office: Office) -> None:
    for ask in (
        office.admin.account,
        partial(office.admin.history, limit=1),
        partial(office.admin.grant, credits=1),
        office.admin.revoke,
        office.admin.freeze,
        office.admin.unfreeze,
        partial(office.admin.set_owner, owner="x"),
        office.admin.add_anchor,
        office.admin.remove_anchor,
    ):
        with pytest.raises(InvalidRequest, match="there is no account nobody"):
            ask("nobody")


def test_anchors_are_named_listed_and_removed(office: Office) -> None:
    for _ in range(2):
        office.admin.add_anchor(office.foreman)
        assert [view.account for view in office.admin.anchors()] == [office.foreman]
    for _ in range(2):
        office.admin.remove_anchor(office.foreman)
        assert office.admin.anchors() == []


def test_history_explains_and_ends(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.admin.grant(office.foreman, 5)
    office.town.buy_one()
    told = office.admin.history(office.foreman, limit=50)
    assert [(entry.change, entry.balance) for entry in told] == [(-3, 14), (5, 17), (12, 12)]
    assert told[1].text == "granted by the operator"
    assert office.admin.history(office.foreman, limit=2) == told[:2]
    monkeypatch.setattr(administration, "MAX_HISTORY", 1)
    assert office.admin.history(office.foreman, limit=2) == told[:2]
    assert office.admin.history(office.foreman, limit=50) == told


def test_a_grant_under_a_name_is_given_once(office: Office) -> None:
    first = office.admin.grant(office.foreman, 8, id="birthday")
    again = office.admin.grant(office.foreman, 8, id="birthday")
    assert (first.credits, first.repeated) == (20, False)
    assert (again.credits, again.repeated) == (20, True)
    assert office.town.credits() == 20
    worker = next(iter(office.town.tokens))
    for account, credits in ((office.foreman, 9), (worker, 8)):
        with pytest.raises(InvalidRequest, match="the id birthday belongs to another grant"):
            office.admin.grant(account, credits, id="birthday")


def test_grants_without_a_name_are_two(office: Office) -> None:
    assert office.admin.grant(office.foreman, 1).id != office.admin.grant(office.foreman, 1).id
    assert office.town.credits() == 14


@pytest.mark.parametrize("credits", [0, -1, ledger.MAX_GRANT + 1, 1 << 64])
def test_a_grant_gives_something_and_no_more_than_the_books_hold(office: Office, credits: int) -> None:
    with pytest.raises(InvalidRequest, match="a grant must be 1 to 1,000,000,000 credits"):
        office.admin.grant(office.foreman, credits)
    assert office.town.credits() == 12
    assert office.admin.grant(office.foreman, ledger.MAX_GRANT).credits == 12 + ledger.MAX_GRANT


@pytest.mark.parametrize(("credits", "uses"), [(ledger.MAX_GRANT + 1, 1), (1, 1 << 64)])
def test_an_invitation_brings_no_more_than_the_books_hold(office: Office, credits: int, uses: int) -> None:
    with pytest.raises(InvalidRequest, match="at most 1,000,000,000 credits and as many uses"):
        office.admin.invite(credits=credits, uses=uses)


@pytest.mark.parametrize("expires_in_s", [0.0, -1.0, float("nan"), float("inf"), 1e300])
def test_an_invitation_has_a_known_expiry_time(office: Office, expires_in_s: float) -> None:
    with pytest.raises(InvalidRequest, match="at most 36,500 days"):
        office.admin.invite(credits=1, expires_in_s=expires_in_s)
    assert office.admin.invitations() == []


@pytest.mark.parametrize("name", ["x" * 65, "a b", "a:b", "ä", "a\n"])
def test_names_of_grants_and_owners_are_plain(office: Office, name: str) -> None:
    with pytest.raises(InvalidRequest, match="1 to 64"):
        office.admin.grant(office.foreman, 1, id=name)
    with pytest.raises(InvalidRequest, match="1 to 64"):
        office.admin.set_owner(office.foreman, name)
    with pytest.raises(InvalidRequest, match="1 to 64"):
        office.admin.invite(credits=1, owner=name)


def test_an_empty_name_names_no_grant(office: Office) -> None:
    with pytest.raises(InvalidRequest, match="1 to 64"):
        office.admin.grant(office.foreman, 1, id="")


def test_revoked_is_out(office: Office) -> None:
    worker, token = next(iter(office.town.tokens.items()))
    office.admin.revoke(worker)
    for call in (office.town.service.accounts.open, office.town.service.accounts.status):
        with pytest.raises(NotAuthenticated):
            call(token)
    assert office.town.service.foremen.pool(FOREMAN, PoolQuery(requirement=REQUIREMENT)).workers == 3


def test_frozen_looks_and_nothing_else(office: Office) -> None:
    office.admin.freeze(office.foreman)
    assert office.admin.account(office.foreman).frozen
    assert office.town.service.accounts.status(FOREMAN).frozen
    with pytest.raises(AccountFrozen):
        office.town.buy()
    office.admin.unfreeze(office.foreman)
    assert len(office.town.buy().tasks) == 1


def test_a_frozen_worker_is_not_drawn(office: Office) -> None:
    for account in list(office.town.tokens)[:2]:
        office.admin.freeze(account)
    assert office.town.buy().tasks == ()


def test_owners(office: Office) -> None:
    office.admin.set_owner(office.foreman, "alice")
    assert office.admin.account(office.foreman).owner == "alice"
    office.admin.set_owner(office.foreman, "")
    assert office.admin.account(office.foreman).owner == office.foreman


def test_an_invitation_brings_credits_and_an_owner_as_often_as_it_says(office: Office) -> None:
    made = office.admin.invite(credits=30, uses=2, owner="bob")
    assert made.code not in repr(made)
    for number in (7, 8):
        status = office.town.service.accounts.open(worker_token(number), OpenAccount(invitation=made.code))
        assert status.credits == 30
        assert office.admin.account(status.account).owner == "bob"
    with pytest.raises(InvitationRefused):
        office.town.service.accounts.open(worker_token(9), OpenAccount(invitation=made.code))
    (kept,) = office.admin.invitations()
    assert (kept.id, kept.uses_left, kept.expires_at) == (made.invitation.id, 0, None)


def test_an_invitation_runs_out(office: Office) -> None:
    made = office.admin.invite(credits=1, expires_in_s=60)
    assert made.invitation.expires_at == office.town.clock.now + 60
    office.town.clock.advance(60)
    with pytest.raises(InvitationRefused):
        office.town.service.accounts.open(NEWCOMER, OpenAccount(invitation=made.code))


@pytest.mark.parametrize(("credits", "uses"), [(0, 1), (1, 0), (-1, 1)])
def test_an_invitation_brings_something(office: Office, credits: int, uses: int) -> None:
    with pytest.raises(InvalidRequest, match="at least one credit"):
        office.admin.invite(credits=credits, uses=uses)


def test_the_books_are_right_at_every_step(office: Office) -> None:
    def check() -> None:
        audit = office.admin.audit()
        assert (audit.findings, audit.granted) == ((), 12)

    check()
    task = office.town.buy_one()
    check()
    for position in range(2):
        office.town.commit(task, position, "same")
        check()
    office.town.clock.advance(601)
    office.town.service.sweep()
    check()
    assert office.admin.audit().accounts == 6  # mint, foreman, escrow, two winners, the service
    office.town.clock.advance(90_000)
    office.town.service.sweep()
    check()


def test_the_audit_names_a_theft(office: Office) -> None:
    office.town.buy(order(tasks=1))
    victim = ledger.user_account(office.foreman)
    office.store.ledger._balances.rows[victim] -= 1
    office.store.ledger._balances.rows["user:thief"] = 1
    findings = office.admin.audit().findings
    assert findings == (
        f"{victim} has 8 credits, but its transfers add up to 9",
        "user:thief has 1 credits, but its transfers add up to 0",
    )
