"""The rules of ``/v1`` written down once more, plainly: what discovery must answer, and what everybody has then.

Nothing is drawn here: who was drawn is told by the reply, and only whether that was possible is checked. A call that
must be refused raises the refusal.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence

from ec262.domain.discovery.ledger import MINT, SERVICE
from ec262.domain.errors import (
    AccountFrozen,
    InvitationRefused,
    LimitReached,
    NotAuthenticated,
    PurchaseConflict,
    PurchaseTooExpensive,
)
from ec262.domain.protocol.foreman_calls import AddReplicas, BoughtTask, BuyTasks, Purchase
from ec262.domain.protocol.reason import Reason
from ec262.domain.verification.rules import MAX_REPLICAS
from ec262.domain.verification.task_state import TaskState
from ec262.services.discovery.discovery_policy import Policy
from tests.property.discovery_records import Bought, Holder, Job, Lease, Offer, Part

QUORUMS = {"majority:1": (1, 1), "majority:3": (3, 2), "majority:5:4": (5, 4), "quorum:2": (2, 2)}
"""Replicas and quorum."""


class Model:
    """A discovery service without a draw, keys, or storage."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.holders: dict[str, Holder] = {}
        """By the token that opens the account."""
        self.revoked: set[str] = set()
        self.pool: dict[str, Lease] = {}
        self.jobs: dict[str, Job] = {}
        self.purchases: dict[str, Bought] = {}
        self.offers: dict[str, Offer] = {}
        self.reports: set[tuple[str, str]] = set()
        self.balances: Counter[str] = Counter()
        self.lines: defaultdict[str, Counter[tuple[int, Reason, str | None]]] = defaultdict(Counter)
        """The history of each account, in no order."""

    # --- money and time ---------------------------------------------------------------------------------------------

    def move(self, debit: str, credit: str, amount: int, reason: Reason, task: str | None = None) -> None:
        self.balances[debit] -= amount
        self.balances[credit] += amount
        for account, change in ((debit, -amount), (credit, amount)):
            self.lines[account.removeprefix("user:")][change, reason, task] += 1

    def credits(self, account: str) -> int:
        return self.balances[f"user:{account}"]

    def apply_deadlines(self, now: float) -> None:
        for job in self.jobs.values():
            if not job.running or now < job.deadline:
                continue
            won, left = job.state is TaskState.WON, job.escrow
            job.state = TaskState.SETTLED if won else TaskState.REFUNDED
            if left and won:
                self.move(f"escrow:{job.name}", SERVICE, left, Reason.UNPAID, job.name)
            elif left:
                kept = (sum(part.fetched and part.text is None for part in job.parts) + 1) // 2
                if kept:
                    self.move(f"escrow:{job.name}", SERVICE, kept, Reason.UNPAID, job.name)
                if left > kept:
                    self.move(f"escrow:{job.name}", f"user:{job.foreman}", left - kept, Reason.REFUND, job.name)

    def sweep(self, now: float) -> None:
        self.jobs = {name: job for name, job in self.jobs.items() if job.running or job.forgotten_at > now}
        self.purchases = {name: one for name, one in self.purchases.items() if one.price or one.forgotten_at > now}
        self.pool = {worker: lease for worker, lease in self.pool.items() if lease.expires_at > now}

    # --- accounts ---------------------------------------------------------------------------------------------------

    def looking(self, token: str) -> Holder:
        if token not in self.holders:
            raise NotAuthenticated("")
        return self.holders[token]

    def active(self, token: str) -> Holder:
        holder = self.looking(token)
        if holder.frozen:
            raise AccountFrozen("")
        return holder

    def check_opening(self, token: str, code: str | None) -> None:
        if token in self.revoked:
            raise NotAuthenticated("")
        if code is None:
            return
        holder, offer = self.holders.get(token), self.offers.get(code)
        if holder is not None and holder.frozen:
            raise AccountFrozen("")
        redeemed = offer is not None and holder is not None and holder.account in offer.redeemed
        if offer is None or (not redeemed and offer.uses == 0):
            raise InvitationRefused("")

    def open(self, token: str, code: str | None, account: str, *, grant: int) -> None:
        if token not in self.holders:
            self.holders[token] = Holder(account)
            self.move(MINT, f"user:{account}", grant, Reason.GRANT)
        offer = self.offers[code] if code is not None else None
        if offer is not None and account not in offer.redeemed:
            offer.redeemed.add(account)
            offer.uses -= 1
            self.move(MINT, f"user:{account}", offer.credits, Reason.GRANT)

    def replace_token(self, old: str, new: str) -> None:
        if old in self.revoked and new in self.holders:
            return
        holder = self.active(old)
        if old == new:
            return
        if new in self.holders or new in self.revoked:
            raise NotAuthenticated("")
        self._revoke(old)
        self.holders[new] = holder

    def close(self, token: str) -> None:
        if token in self.revoked:
            return
        self.pool.pop(self.active(token).account, None)
        self._revoke(token)

    def _revoke(self, token: str) -> None:
        del self.holders[token]
        self.revoked.add(token)

    def leave(self, token: str) -> None:
        self.pool.pop(self.looking(token).account, None)

    # --- buying -----------------------------------------------------------------------------------------------------

    def free(self, now: float) -> dict[str, int]:
        """Free slots of the workers that could be drawn."""
        return self._free(now, self._busy(now) + self._late())

    def free_for(self, foreman: str, replicas: int, now: float, company: Collection[str] = ()) -> dict[str, int]:
        """Slots from which teams of so many are drawn: of those who compute what is decided only if there are too few
        others, however busy these are."""

        def others(slots: dict[str, int]) -> dict[str, int]:
            return {worker: n for worker, n in slots.items() if n and worker != foreman and worker not in company}

        free, punctual = others(self.free(now)), others(self._free(now, self._late()))
        if len(free) >= replicas or len(punctual) >= replicas:
            return free
        return others(self._free(now, self._busy(now)))

    def _free(self, now: float, taken: Counter[str]) -> dict[str, int]:
        return {
            worker: max(0, lease.slots - taken[worker])
            for worker, lease in self.pool.items()
            if lease.fits and lease.expires_at > now
        }

    def _busy(self, now: float) -> Counter[str]:
        open_jobs = [job for job in self.jobs.values() if job.state is TaskState.OPEN]
        return Counter(part.worker for job in open_jobs for part in job.parts if part.busy(now, job.deadline))

    def _late(self) -> Counter[str]:
        won_jobs = [job for job in self.jobs.values() if job.state is TaskState.WON]
        return Counter(part.worker for job in won_jobs for part in job.parts if part.outstanding and part.fetched)

    def check_purchase(self, token: str, command: BuyTasks | AddReplicas, now: float) -> Bought | None:
        """Return the purchase that this is a repetition of; None if it is a new one, which may go ahead."""
        account = self.active(token).account
        known = self.purchases.get(command.purchase)
        if known is not None:
            if (known.account, known.command) != (account, command) or any(t not in self.jobs for t in known.tasks):
                raise PurchaseConflict("")
            return known
        if isinstance(command, BuyTasks):
            replicas, _ = QUORUMS[command.rule]
            affordable = self.credits(account) // replicas
            count = self._possible(account, min(command.tasks, affordable + 1), replicas, now)
            self._check_purse(account, count * replicas, count)
        return None

    def _possible(self, foreman: str, tasks: int, replicas: int, now: float) -> int:
        slots = self.free_for(foreman, replicas, now).values()
        return max(n for n in range(tasks + 1) if sum(min(count, n) for count in slots) >= n * replicas)

    def _check_purse(self, account: str, price: int, tasks: int) -> None:
        have = self.credits(account)
        if price > have:
            raise PurchaseTooExpensive(have=have, need=price)
        held = self.held(account)
        if len(held) + tasks > self.policy.max_open_tasks or sum(held) + price > self.policy.max_escrow:
            raise LimitReached("")

    def held(self, account: str) -> list[int]:
        """What each task of an account holds, as long as that is something."""
        return [job.escrow for job in self.jobs.values() if job.foreman == account and job.escrow]

    def purchased(self, token: str, command: BuyTasks | AddReplicas, reply: Purchase, now: float) -> Bought:
        """Believe what a new purchase brought, if that was possible."""
        account = self.holders[token].account
        if isinstance(command, BuyTasks):
            self._bought(account, command, reply, now)
        else:
            self._added(account, command, reply, now)
        assert reply.price == sum(len(task.replicas) for task in reply.tasks)
        assert reply.credits == self.credits(account)
        names = tuple(task.task for task in reply.tasks)
        forgotten_at = now + self.policy.retention_s
        bought = Bought(account, command, reply.price, reply.credits, reply.shortfall, names, forgotten_at)
        self.purchases[command.purchase] = bought
        return bought

    def _bought(self, account: str, command: BuyTasks, reply: Purchase, now: float) -> None:
        replicas, quorum = QUORUMS[command.rule]
        assert len(reply.tasks) == self._possible(account, command.tasks, replicas, now)
        assert bool(reply.shortfall) == (len(reply.tasks) < command.tasks)
        deadline = now + command.deadline_s
        slots = self.free_for(account, replicas, now)
        for task in reply.tasks:
            assert len(task.replicas) == replicas
            assert task.task not in self.jobs
            job = Job(task.task, account, quorum, deadline, deadline + self.policy.retention_s, [])
            self.jobs[task.task] = job
            self._drawn(job, task, command.purchase, now, slots)

    def _added(self, account: str, command: AddReplicas, reply: Purchase, now: float) -> None:
        """Orders are filled one after another, and who is drawn for one may be missing for the next."""
        self._check_purse(account, reply.price, 0)
        brought = {task.task: task for task in reply.tasks}
        missing = False
        for order in command.orders:
            possible = self.fillable(account, order.task, order.replicas, now)
            assert (order.task in brought) == possible
            missing |= not possible
            if possible:
                job, task = self.jobs[order.task], brought[order.task]
                later_s = max(0.0, now + command.deadline_s - job.deadline)
                job.deadline += later_s
                job.forgotten_at += later_s
                assert len(task.replicas) == order.replicas
                slots = self.free_for(account, order.replicas, now, [part.worker for part in job.parts])
                self._drawn(job, task, command.purchase, now, slots)
        assert brought.keys() <= {order.task for order in command.orders}
        assert bool(reply.shortfall) == missing

    def fillable(self, account: str, task: str, replicas: int, now: float) -> bool:
        job = self.jobs.get(task)
        if job is None or job.foreman != account or job.state is not TaskState.OPEN:
            return False
        if len(job.parts) + replicas > MAX_REPLICAS:
            return False
        return len(self.free_for(account, replicas, now, [part.worker for part in job.parts])) >= replicas

    def _drawn(self, job: Job, task: BoughtTask, purchase: str, now: float, slots: dict[str, int]) -> None:
        for replica in task.replicas:
            assert replica.worker != job.foreman
            assert job.part(replica.worker) is None
            assert slots[replica.worker] > 0
            slots[replica.worker] -= 1
            job.parts.append(Part(replica.worker, purchase, now))
        self.move(f"user:{job.foreman}", f"escrow:{job.name}", len(task.replicas), Reason.PURCHASE, job.name)

    # --- computing --------------------------------------------------------------------------------------------------

    def fetch(self, token: str, names: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
        worker, taken, refused = self.active(token).account, list[str](), list[tuple[str, str]]()
        for name in names:
            job, part = self._part(name, worker)
            if part is None:
                refused.append((name, "unknown_task"))
            elif not job.running:
                refused.append((name, "task_closed"))
            else:
                part.fetched = True
                taken.append(name)
        return taken, refused

    def commit(self, token: str, items: Iterable[tuple[str, str]]) -> tuple[list[str], list[tuple[str, str]]]:
        worker, taken, refused = self.active(token).account, list[str](), list[tuple[str, str]]()
        for name, text in items:
            job, part = self._part(name, worker)
            if part is None:
                refused.append((name, "unknown_task"))
            elif part.text is not None and part.text != text:
                refused.append((name, "commitment_conflict"))
            elif part.text is None and (part.given_up or not job.running):
                refused.append((name, "task_closed"))
            else:
                taken.append(name)
                if part.text is None:
                    part.text = text
                    self._adjudicate(job, text)
        return taken, refused

    def give_up(self, token: str, names: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
        worker, taken, refused = self.active(token).account, list[str](), list[tuple[str, str]]()
        for name in names:
            job, part = self._part(name, worker)
            if part is None:
                refused.append((name, "unknown_task"))
            elif part.outstanding and not job.running:
                refused.append((name, "task_closed"))
            else:
                part.given_up |= part.text is None
                taken.append(name)
        return taken, refused

    def _part(self, name: str, worker: str) -> tuple[Job, Part | None]:
        job = self.jobs.get(name) or Job(name, "", 0, 0, 0, [])
        return job, job.part(worker)

    def _adjudicate(self, job: Job, text: str) -> None:
        if job.winner is None and sum(part.text == text for part in job.parts) >= job.quorum:
            job.winner, job.state = text, TaskState.WON
        for part in job.parts:
            if job.winner is not None and part.text == job.winner and not part.paid:
                part.paid = True
                self.move(f"escrow:{job.name}", f"user:{part.worker}", 1, Reason.WIN, job.name)

    # --- afterwards -------------------------------------------------------------------------------------------------

    def own(self, account: str, names: Iterable[str]) -> list[Job]:
        return [job for name, job in sorted(self.jobs.items()) if name in set(names) and job.foreman == account]

    def dispute(self, token: str, names: Sequence[str]) -> list[Job]:
        jobs = self.own(self.active(token).account, names)
        for job in jobs:
            if not job.lost:
                continue
            left = len(job.parts) - len(job.committed)
            job.state = TaskState.DISPUTED
            for part in job.committed:
                part.paid = True
                self.move(f"escrow:{job.name}", f"user:{part.worker}", 1, Reason.DISPUTE, job.name)
            if left:
                self.move(f"escrow:{job.name}", SERVICE, left, Reason.UNPAID, job.name)
        return jobs

    def report(self, token: str, items: Iterable[tuple[str, str]]) -> None:
        foreman = self.active(token).account
        for name, worker in items:
            job = self.jobs.get(name)
            part = job.part(worker) if job is not None and job.foreman == foreman else None
            if job is not None and part is not None and job.winner is not None and part.paid:
                self.reports.add((worker, foreman))

    # --- who may know what ------------------------------------------------------------------------------------------

    def opened(self, account: str, job: Job) -> bool:
        """Whether a task's payment is fixed, so that its foreman, if it is that, may have its key."""
        return account == job.foreman and job.state in {TaskState.WON, TaskState.SETTLED, TaskState.DISPUTED}

    def may_know_key(self, account: str, job: Job) -> bool:
        return self.opened(account, job) or (job.running and job.part(account) is not None)

    def may_know_secret(self, account: str, job: Job, worker: str) -> bool:
        return account in {job.foreman, worker}

    def may_know_delivery_digest(self, account: str, _job: Job, worker: str) -> bool:
        return account == worker

    def may_know_delivery_secret(self, account: str, job: Job, worker: str) -> bool:
        part = job.part(worker)
        return self.opened(account, job) and part is not None and part.paid

    def may_know_digest(self, account: str, job: Job, text: str) -> bool:
        return self.opened(account, job) and (job.state is TaskState.DISPUTED or job.winner == text)
