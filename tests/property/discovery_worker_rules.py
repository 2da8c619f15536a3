"""What workers do to a discovery service, with their own tasks, those of others and some that never were."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hypothesis import strategies as st
from hypothesis.stateful import rule

from ec262.domain.protocol.worker_calls import AssignmentQuery, Commitment, CommitResults, GiveUp, TaskRefusal
from ec262.domain.verification.task_state import TaskState
from tests.property.discovery_machine import (
    TEXTS,
    UNKNOWN,
    Crash,
    DiscoveryGround,
    batches,
    bytes_in,
    crashes,
    digest_of,
    indices,
)

texts = st.sampled_from(["right", "right", "right", "lie", "junk"])


class WorkerRules(DiscoveryGround):
    """Parts are asked for, committed to and given up."""

    @rule(names=batches, index=indices, crash=crashes)
    def ask_for_parts(self, names: list[int], index: int, crash: Crash) -> None:
        for token in [self.token(index), *self.team(index)]:
            self.fetch(token, [self.task(name) for name in (*names, index)], crash)

    @rule(index=indices, items=st.lists(st.tuples(indices, texts), max_size=4), crash=crashes)
    def commit_anything(self, index: int, items: list[tuple[int, str]], crash: Crash) -> None:
        self.commit(self.token(index), [(self.task(name), text) for name, text in items], crash)

    @rule(name=indices, said=st.lists(texts, min_size=1, max_size=6), crash=crashes)
    def whole_team_commits(self, name: int, said: list[str], crash: Crash) -> None:
        for token, text in zip(self.team(name), said, strict=False):
            self.commit(token, [(self.task(name), text), (UNKNOWN, text), (self.task(name), text)], crash)

    @rule(name=indices, surrenders=st.booleans(), crash=crashes)
    def nobody_agrees(self, name: int, surrenders: bool, crash: Crash) -> None:  # noqa: FBT001 - drawn
        for token, text in zip(self.team(name), TEXTS, strict=False):
            if surrenders and text == TEXTS[1]:
                self.give_up(token, [self.task(name)], crash)
            else:
                self.commit(token, [(self.task(name), text)], crash)

    @rule(index=indices, names=batches, team=st.booleans(), crash=crashes)
    def give_parts_up(self, index: int, names: list[int], team: bool, crash: Crash) -> None:  # noqa: FBT001 - drawn
        for token in self.team(index) if team else [self.token(index)]:
            self.give_up(token, [self.task(name) for name in (*names, index)], crash)

    def team(self, name: int) -> list[str]:
        """The tokens of a task's workers, as far as they have any."""
        job = self.job(name)
        tokens = [self.token_of(part.worker) for part in job.parts] if job is not None else []
        return [token for token in tokens if token is not None]

    # --- calls ------------------------------------------------------------------------------------------------------

    def fetch(self, token: str, tasks: Sequence[str], crash: Crash) -> None:
        query = AssignmentQuery(tasks=tuple(tasks))
        reply = self.compare(
            token,
            lambda: self.service.workers.assignments(token, query),
            lambda: self.model.fetch(token, tasks),
            crash,
        )
        if reply is None:
            return
        assert ([part.task for part in reply.assignments], _codes(reply.refused)) == self.expected
        me = self.model.looking(token).account
        for part in reply.assignments:
            job = self.model.jobs[part.task]
            assert (part.deadline_in_s, part.forgotten_in_s) == (job.deadline - self.now, job.forgotten_at - self.now)
            assert {self.secrets[value].task for value in bytes_in(part)} == {part.task}
            mine = job.part(me)
            assert part.won == (job.state is TaskState.WON and mine is not None and mine.outstanding)
            assert not any(other.worker in repr(part) for other in job.parts if other.worker != me)

    def commit(self, token: str, items: Sequence[tuple[str, str]], crash: Crash) -> None:
        commitments = tuple(Commitment(task=task, digest=digest_of(task, text)) for task, text in items)
        reply = self.compare(
            token,
            lambda: self.service.workers.commit(token, CommitResults(commitments=commitments)),
            lambda: self.model.commit(token, items),
            crash,
        )
        assert reply is None or (list(reply.tasks), _codes(reply.refused)) == self.expected

    def give_up(self, token: str, tasks: Sequence[str], crash: Crash) -> None:
        reply = self.compare(
            token,
            lambda: self.service.workers.give_up(token, GiveUp(tasks=tuple(tasks))),
            lambda: self.model.give_up(token, tasks),
            crash,
        )
        assert reply is None or (list(reply.tasks), _codes(reply.refused)) == self.expected


def _codes(refused: Iterable[TaskRefusal]) -> list[tuple[str, str]]:
    return [(refusal.task, refusal.error) for refusal in refused]
