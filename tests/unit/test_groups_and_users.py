"""Control groups and users of runs: where they are looked for, how they are shared out, and what is left of dead graders."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

import pytest

from grader.errors import SandboxError
from grader.sandbox import cgroups, users

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")

VERSION_1 = """
25 30 0:22 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
26 30 0:23 / /sys/fs/cgroup/memory rw,nosuid shared:10 - cgroup cgroup rw,memory
27 30 0:24 /docker/abc /sys/fs/cgroup/pids rw,nosuid - cgroup cgroup rw,pids
28 30 0:25 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw
"""


def test_each_controller_of_version_1_has_its_own_folder():
    """A container that sees only its part of a hierarchy finds its group below the mount point."""
    mounts = cgroups._mounts(VERSION_1)
    own = cgroups._own("4:memory:/user/me\n3:cpu,cpuacct:/\n2:pids:/docker/abc/job\n0::/\n")
    assert cgroups._folder(mounts["memory"], own["memory"]) == Path("/sys/fs/cgroup/memory/user/me")
    assert cgroups._folder(mounts["pids"], own["pids"]) == Path("/sys/fs/cgroup/pids/job")
    assert mounts["cpu"] == mounts["cpuacct"]


def test_a_group_outside_what_is_mounted_is_the_mount_point():
    """Not a folder that leads out of it."""
    assert cgroups._folder(("/sys/fs/cgroup", "/docker/abc"), "/other") == Path("/sys/fs/cgroup")
    assert cgroups._folder(("/sys/fs/cgroup", "/"), "/") == Path("/sys/fs/cgroup")


def hierarchy(tmp_path, *, controlled, controllers="cpu memory pids", members="1\n"):
    """Folders that look like version 2: a slice, and in it the scope this process is said to be in."""
    scope = tmp_path / "slice" / "scope"
    scope.mkdir(parents=True)
    for folder, control in ((tmp_path / "slice", ""), (scope, controlled)):
        (folder / "cgroup.subtree_control").write_text(control)
        (folder / "cgroup.controllers").write_text(controllers)
        (folder / "cgroup.procs").write_text(members)
    return {"": (str(tmp_path), "/")}, {"": "/slice/scope"}, scope


def test_a_delegated_group_limits_its_children(tmp_path):
    """Where memory and pids are handed down already, the grader's own group is the place."""
    mounts, own, scope = hierarchy(tmp_path, controlled="cpu memory pids")
    assert cgroups._candidates(mounts, own)[0] == cgroups.Place(2, scope, scope)


def test_a_group_of_our_own_is_emptied_so_that_its_children_can_be_limited(tmp_path):
    """Its processes, all the grader's, move into a group beside those of the runs; then the controllers are handed down."""
    mounts, own, scope = hierarchy(tmp_path, controlled="", members=f"{os.getpid()}\n")
    (scope / cgroups.HOST).mkdir()
    assert cgroups._candidates(mounts, own)[0].memory == scope
    assert (scope / cgroups.HOST / "cgroup.procs").read_text() == str(os.getpid())
    assert (scope / "cgroup.subtree_control").read_text() == "+memory +pids"


def test_processes_of_others_are_not_moved(tmp_path):
    """A group that somebody else is in too is left as it is."""
    mounts, own, scope = hierarchy(tmp_path, controlled="", members=f"{os.getpid()}\n1\n")
    cgroups._candidates(mounts, own)
    assert not (scope / cgroups.HOST).exists()
    assert (tmp_path / "slice" / "cgroup.subtree_control").read_text() == "", (
        "what is around ours is not ours to change"
    )


def test_beside_our_own_group_is_a_place_where_limits_are_handed_down_already(tmp_path):
    """A session of root's that systemd did not delegate: the group around it limits its children."""
    mounts, own, scope = hierarchy(tmp_path, controlled="", members=f"{os.getpid()}\n1\n")
    (scope.parent / "cgroup.subtree_control").write_text("cpu memory pids")
    (scope / "cgroup.subtree_control").unlink()
    (scope / "cgroup.subtree_control").mkdir()  # as if the kernel refused it: processes are in there
    assert cgroups._candidates(mounts, own) == [cgroups.Place(2, scope.parent, scope.parent)]


def test_a_worker_makes_its_groups_beside_where_the_grader_moved(tmp_path):
    """It starts in the grader's own group, which has processes and so no limited children."""
    mounts, own, scope = hierarchy(tmp_path, controlled="memory pids")
    (scope / cgroups.HOST).mkdir()
    own = {"": f"/slice/scope/{cgroups.HOST}"}
    assert cgroups._candidates(mounts, own)[0].memory == scope


def test_without_memory_and_pids_there_is_no_place(tmp_path):
    """Where the kernel or a container withholds one of them, no limit can be promised."""
    mounts, own, _ = hierarchy(tmp_path, controlled="", controllers="cpu io")
    assert cgroups._candidates(mounts, own) == []
    assert cgroups._candidates({"memory": ("/x", "/")}, {"memory": "/"}) == []


def test_limits_are_written_where_the_kernel_reads_them(tmp_path):
    """Version 2: memory, swap and processes; nothing may be swapped out instead."""
    place = cgroups.Place(2, tmp_path, tmp_path)
    made = tmp_path / "grader-x"

    class Files(type(tmp_path)):
        def mkdir(self, *args, **kwargs):
            super().mkdir(*args, **kwargs)
            (made / "memory.swap.max").write_text("max")

    group = cgroups._make(cgroups.Place(2, Files(tmp_path), Files(tmp_path)), "grader-x", 300, 40)
    assert place.folders == (tmp_path,)
    written = {path.name: path.read_text() for path in made.iterdir()}
    assert written == {"memory.max": str(300 << 20), "memory.swap.max": "0", "pids.max": "40"}
    for lock in group.locks:
        os.close(lock)


def test_what_the_kernel_counts_tells_why_a_run_died(tmp_path):
    """memory.events and pids.events of version 2; a file that is not there counts nothing."""
    group = cgroups.Group(cgroups.Place(2, tmp_path, tmp_path), "g", ())
    assert not group.out_of_memory()
    assert not group.processes_refused()
    group.memory.mkdir()
    (group.memory / "memory.events").write_text("low 0\noom 3\noom_kill 1\noom_group_kill 0\n")
    (group.memory / "pids.events").write_text("max 7\n")
    assert group.out_of_memory()
    assert group.processes_refused()


@pytest.mark.parametrize(("version", "stat"), [(1, "cache 999\nrss 3145728\n"), (2, "anon 3145728\nfile 999\n")])
def test_what_a_run_costs_is_what_its_group_has_paid_for(tmp_path, version, stat):
    """Memory without files: a forked run shares most of its pages with the zygote, and those are the zygote's."""
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "memory.stat").write_text(stat)
    assert cgroups.Group(cgroups.Place(version, tmp_path, tmp_path), "g", ()).private_mb() == 3.0


def test_groups_of_dead_graders_are_swept_and_those_of_living_ones_are_not(tmp_path):
    """By the lock that each group's owner holds until it ends, however it ends."""
    for name in ("grader-dead", "grader-alive", "other"):
        (tmp_path / name).mkdir()
    lock = os.open(tmp_path / "grader-alive", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert cgroups.sweep(cgroups.Place(2, tmp_path, tmp_path)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grader-alive", "other"]
    os.close(lock)


# ---------------------------------------------------------------- users


@pytest.fixture
def as_root(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr(users, "LOCKS", tmp_path / "users")


@pytest.mark.usefixtures("as_root")
def test_leases_that_are_held_at_once_share_no_user():
    """Whoever asks, and wherever each begins to look; all of them are of the range that belongs to nobody."""
    leases = [users.lease(start) for start in (0, 0, 3, 0, 3, users.BLOCKS - 1, users.BLOCKS)]
    given = [{lease.zygote, *range(lease.first_run, lease.first_run + lease.runs)} for lease in leases]
    assert len(set.union(*given)) == len(leases) * users.BLOCK
    assert all(users.FIRST_UID <= uid <= users.LAST_UID for block in given for uid in block)
    for lease in leases:
        lease.close()


@pytest.mark.usefixtures("as_root")
def test_a_block_is_free_again_when_it_is_given_back():
    """Closing twice does no harm."""
    first = users.lease()
    first.close()
    first.close()
    again = users.lease()
    assert again.zygote == first.zygote
    again.close()


@pytest.mark.usefixtures("as_root")
def test_runs_take_their_users_in_turn():
    """No two of a block's worth of runs in a row are the same."""
    lease = users.lease()
    taken = [next(lease.numbers) for _ in range(2 * lease.runs)]
    assert taken == [*range(lease.runs)] * 2
    lease.close()


@pytest.mark.usefixtures("as_root")
def test_when_every_block_is_taken_it_is_said(monkeypatch):
    """Ours to say, with what to do."""
    monkeypatch.setattr(users, "BLOCKS", 1)
    lease = users.lease()
    with pytest.raises(SandboxError, match="--jobs"):
        users.lease()
    lease.close()


def test_who_is_not_root_has_one_user(monkeypatch):
    """Only root may map others."""
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert users.lease() is None
