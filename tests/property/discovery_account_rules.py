"""What holders of accounts, and the operator, do to a discovery service."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import strategies as st
from hypothesis.stateful import rule

from ec262.domain.protocol.account_calls import AccountStatus, HistoryEntry, HistoryQuery, OpenAccount, ReplaceToken
from tests.property.discovery_machine import NO_CRASH, POLICY, Crash, DiscoveryGround, crashes, indices
from tests.property.discovery_records import Offer

NO_SUCH_CODE = "no-such-code-".ljust(40, "x")


class AccountRules(DiscoveryGround):
    """Accounts are opened, with and without invitations, frozen and closed; tokens are replaced."""

    @rule(index=indices, offer=st.integers(0, 4), newcomer=st.booleans(), crash=crashes)
    def open_account(self, index: int, offer: int, newcomer: bool, crash: Crash) -> None:  # noqa: FBT001 - drawn
        if len(self.model.offers) < 3:
            self.invite(credits=2 + len(self.model.offers), uses=1 + index % 2)
        token = self.newcomer("newcomer") if newcomer else self.latest_token(index)
        codes = [None, NO_SUCH_CODE, *self.model.offers]
        code = codes[offer % len(codes)]
        reply = self.compare_opening(token, code, crash)
        if reply is not None:
            known = self.model.holders.get(token)
            assert known is None or known.account == reply.account
            self.model.open(token, code, reply.account, grant=POLICY.grant)
            assert reply == self.status_of(token)

    def invite(self, *, credits: int, uses: int) -> None:
        offer = self.admin.invite(credits=credits, uses=uses)
        self.model.offers[offer.code] = Offer(credits, uses)

    def compare_opening(self, token: str, code: str | None, crash: Crash) -> AccountStatus | None:
        return self.compare(
            token,
            lambda: self.service.accounts.open(token, OpenAccount(invitation=code)),
            lambda: self.model.check_opening(token, code),
            crash,
        )

    @rule(
        index=indices,
        other=indices,
        what=st.sampled_from(["new token", "new token", "known token", "close"]),
        crash=crashes,
    )
    def change_access(self, index: int, other: int, what: str, crash: Crash) -> None:
        token = self.latest_token(index)
        if what == "close":
            self.compare(token, lambda: self.service.accounts.close(token), lambda: self.model.close(token), crash)
        else:
            new = self.newcomer("replaced") if what == "new token" else self.token(other)
            self.replace_token(token, new, crash)

    def replace_token(self, token: str, other: str, crash: Crash) -> None:
        command = ReplaceToken(token=other)
        self.compare(
            token,
            lambda: self.service.accounts.replace_token(token, command),
            lambda: self.model.replace_token(token, other),
            crash,
        )

    @rule(index=indices, frozen=st.booleans())
    def freeze(self, index: int, frozen: bool) -> None:  # noqa: FBT001 - drawn
        holder = self.model.holders.get(self.latest_token(index))
        if holder is None:
            return
        if frozen:
            self.admin.freeze(holder.account)
            self.model.pool.pop(holder.account, None)
        else:
            self.admin.unfreeze(holder.account)
        holder.frozen = frozen

    @rule(index=indices)
    def look_at_account(self, index: int) -> None:
        token = self.token(index)
        status = self.compare(
            token, lambda: self.service.accounts.status(token), lambda: self.status_of(token), NO_CRASH
        )
        if status is not None:
            assert status == self.expected
            self.why_do_i_have(status.credits, token)

    def why_do_i_have(self, credits: int, token: str) -> None:
        """Read the history page by page: it adds up to the credits, and has what the model has."""
        entries: list[HistoryEntry] = []
        more = True
        while more:
            before = entries[-1].position if entries else None
            page = self.service.accounts.history(token, HistoryQuery(limit=3, before=before))
            assert len(page.entries) == 3 or not page.more
            entries += page.entries
            more = page.more
        for newer, older in pairwise(entries):
            assert newer.position > older.position
            assert newer.balance - newer.change == older.balance
        assert [entry.balance for entry in entries[:1]] == [credits] * bool(entries)
        assert sum(entry.change for entry in entries) == credits
        assert all(entry.text for entry in entries)
        lines = Counter((entry.change, entry.reason, entry.task) for entry in entries)
        assert lines == self.model.lines[self.model.looking(token).account]

    def status_of(self, token: str) -> AccountStatus:
        holder = self.model.looking(token)
        held = self.model.held(holder.account)
        return AccountStatus(
            account=holder.account,
            credits=self.model.credits(holder.account),
            escrow=sum(held),
            open_tasks=len(held),
            reports=sum(worker == holder.account for worker, _ in self.model.reports),
            frozen=holder.frozen,
        )
