"""The unprivileged users that a grader which is root gives its zygotes and their runs.

Theory of operation. The range is systemd's for dynamic users, 61184 to 65519, which no distribution hands out to people
(systemd.io, UIDS-GIDS). It is cut into blocks: the first user of a block is a zygote's, the others are its runs', one
after another. A block belongs to one process at a time, on the whole machine: it is leased by locking a file, which the
operating system unlocks when that process ends, however it ends. So no two runs that live at once share a user, of one
grader or of several; a user comes round again when the runs before it are gone.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

from grader.errors import SandboxError

FIRST_UID, LAST_UID = 61184, 65519
BLOCK = 16
BLOCKS = (LAST_UID - FIRST_UID + 1) // BLOCK
#: Not a temporary folder: only root may name its files.
LOCKS = Path("/run/grader/users")


@dataclass
class Lease:
    """A block of users, held until it is closed. ``numbers`` gives the run's place in the block, again and again."""

    zygote: int
    first_run: int
    runs: int
    lock: int
    numbers: Iterator[int] = field(init=False)

    def __post_init__(self) -> None:
        self.numbers = cycle(range(self.runs))

    def close(self) -> None:
        """Give the block back. Idempotent."""
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1


def lease(start: int = 0) -> Lease | None:
    """The first free block from that one on, or None for who is not root. Raises SandboxError when all are taken."""
    if sys.platform != "linux" or os.getuid() != 0:
        return None
    import fcntl

    try:
        LOCKS.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        why = f"users for runs cannot be leased: {error.strerror}"
        raise SandboxError(why, where=str(LOCKS), fix="make it writable: mount a tmpfs on /run") from None
    for block in ((start + offset) % BLOCKS for offset in range(BLOCKS)):
        lock = os.open(LOCKS / str(block), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            zygote = FIRST_UID + block * BLOCK
            return Lease(zygote, zygote + 1, BLOCK - 1, lock)
        os.close(lock)
    raise SandboxError(
        f"all {BLOCKS} blocks of users for runs are taken", fix="end other graders on this machine, or lower --jobs"
    )
