"""What a machine's control groups and affinity leave to this process: in trees of files as the kernel shows them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ec262.adapters.machine import capacity
from ec262.adapters.machine.capacity import NO_LIMIT, GroupLimits, Machine, group_limits, local_machine

GIB = 1 << 30


class Tree:
    """The files under /proc/self, and control groups elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.groups = folder / "proc", folder / "groups"
        (self.proc / "self").mkdir(parents=True)

    def group(self, path: str, **files: str) -> None:
        folder = self.groups / path
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name.replace("__", ".")).write_text(content + "\n")

    def member(self, cgroup: str, *mounts: str) -> None:
        (self.proc / "self/cgroup").write_text(cgroup + "\n")
        lines = [
            "22 1 0:20 / /proc rw - proc proc rw",
            *(mount.replace("GROUPS", str(self.groups)) for mount in mounts),
        ]
        (self.proc / "self/mountinfo").write_text("\n".join(lines) + "\n")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    monkeypatch.setattr(capacity, "_physical_bytes", lambda: 64.0 * GIB)
    return Tree(tmp_path)


V2 = "30 23 0:26 / GROUPS rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate"


def test_without_groups_there_is_what_the_machine_has(tree: Tree) -> None:
    assert local_machine(tree.proc) == Machine(processors=8.0, memory_bytes=64.0 * GIB)
    tree.member("0::/", V2)
    assert local_machine(tree.proc) == Machine(processors=8.0, memory_bytes=64.0 * GIB)


def test_version_2_limits_by_the_own_group_and_those_around_it(tree: Tree) -> None:
    tree.group("system.slice", cpu__max="150000 100000", memory__max=str(GIB))
    tree.group("system.slice/worker.service", cpu__max="max 100000", memory__max="max", memory__high=str(2 * GIB))
    tree.member("0::/system.slice/worker.service", V2)
    assert local_machine(tree.proc) == Machine(processors=1.5, memory_bytes=float(GIB))


def test_version_1_has_a_mount_for_each_controller(tree: Tree) -> None:
    tree.group("cpu/box", cpu__cfs_quota_us="25000", cpu__cfs_period_us="100000")
    tree.group("cpu", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    tree.group("memory/box", memory__limit_in_bytes=str(400 << 20))
    tree.group("memory", memory__limit_in_bytes="9223372036854771712")
    tree.member(
        "5:cpu,cpuacct:/box\n4:memory:/box\n1:name=systemd:/box\n0::/",
        "32 31 0:29 / GROUPS/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct",
        "35 31 0:32 / GROUPS/memory rw,relatime - cgroup cgroup rw,memory",
        "41 31 0:38 / GROUPS/unified rw,relatime - cgroup2 cgroup2 rw",
    )
    assert local_machine(tree.proc) == Machine(processors=0.25, memory_bytes=float(400 << 20))


def test_a_container_sees_its_own_group_as_the_root_of_the_mount(tree: Tree) -> None:
    tree.group("", cpu__max="200000 100000", memory__max=str(GIB))
    tree.member("0::/docker/abc", "30 23 0:26 /docker/abc GROUPS ro - cgroup2 cgroup rw")
    assert local_machine(tree.proc) == Machine(processors=2.0, memory_bytes=float(GIB))
    tree.member("0::/../../elsewhere", "30 23 0:26 / GROUPS ro - cgroup2 cgroup rw")
    assert local_machine(tree.proc).processors == 2.0


def test_hard_limits_of_groups_are_those_of_memory_and_processes(tree: Tree) -> None:
    tree.group("user.slice", memory__max=str(2 * GIB), pids__max="100")
    tree.group("user.slice/ec262.service", memory__max="max", memory__high=str(GIB), pids__max="max")
    tree.member("0::/user.slice/ec262.service", V2)
    assert group_limits(tree.proc) == GroupLimits(memory_bytes=2.0 * GIB, processes=100.0)
    tree.group("memory/box", memory__limit_in_bytes=str(GIB))
    tree.group("memory", memory__limit_in_bytes="9223372036854771712")
    tree.group("pids/box", pids__max="50")
    mounts = [
        f"3{n} 31 0:3{n} / GROUPS/{name} rw - cgroup cgroup rw,{name}" for n, name in enumerate(["memory", "pids"])
    ]
    tree.member("4:memory:/box\n8:pids:/box", *mounts)
    assert group_limits(tree.proc) == GroupLimits(memory_bytes=float(GIB), processes=50.0)
    tree.member("4:memory:/\n8:pids:/", *mounts)
    assert group_limits(tree.proc) == GroupLimits(memory_bytes=NO_LIMIT, processes=NO_LIMIT)


def test_an_unreadable_limit_limits_nothing(tree: Tree) -> None:
    tree.group("a", cpu__max="garbage", memory__max="")
    tree.member("0::/a", V2)
    assert local_machine(tree.proc).processors == 8.0
    (tree.proc / "self/mountinfo").write_text("30 23\n")
    (tree.proc / "self/cgroup").write_text("nothing")
    assert local_machine(tree.proc) == Machine(processors=8.0, memory_bytes=64.0 * GIB)


@pytest.mark.parametrize(("processors", "whole"), [(0.25, 1), (1.0, 1), (1.9, 1), (2.0, 2), (7.5, 7)])
def test_at_least_one_task_is_computed_at_a_time(processors: float, whole: int) -> None:
    assert Machine(processors=processors, memory_bytes=0).whole_processors == whole


def test_this_process_may_use_the_processors_that_it_is_bound_to() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert local_machine().processors <= 1
    finally:
        os.sched_setaffinity(0, before)
    assert local_machine().memory_bytes > 0
