"""What a notebook's ``!command``, Colab's own magic and ``quit()`` do while it is graded.

IPython runs it on a terminal of its own, and a sandbox shows none: each would end as "out of pty devices", and take the
rest of its cell along. So it is run on a pipe. That it has no network is not its student's mistake either: it prints why
it failed, its exit code is kept where IPython keeps it, and the cell goes on. ``%tensorflow_version`` goes on too: IPython
does not know it, and would leave the cell before the import that nearly always follows. And so does ``quit()``, with which
some notebooks end to free their memory: the kernel would be gone a tenth of a second later, before or after it was asked.
"""

from __future__ import annotations

import codecs
import os
import subprocess
import sys
from typing import Any


def with_colabs_magic(shell: Any) -> None:
    """Have ``%tensorflow_version`` say that it does nothing."""

    def tensorflow_version(line: str) -> None:
        sys.stdout.write(f"%tensorflow_version {line}: this is Colab's own, and has no effect here.\n")

    shell.register_magic_function(tensorflow_version, magic_name="tensorflow_version")


def without_quitting(shell: Any) -> None:
    """Have ``quit()`` and ``exit()`` say that they do nothing. A shutdown that the driver asks for takes another way."""

    def ask_exit() -> None:
        sys.stdout.write("The kernel stays while the notebook is graded: quit() and exit() have no effect here.\n")

    shell.ask_exit = ask_exit


def without_terminal() -> None:
    """Have the kernel of this process run shell commands on a pipe."""
    from ipykernel import zmqshell

    shell: Any = zmqshell
    shell.system = system


def system(cmd: str) -> int:
    """Run it, show what it prints as it comes, and return its exit code; of one that a signal ended the negated signal."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with subprocess.Popen(
        ["/bin/sh", "-c", cmd], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - for the type checker: it was asked for
            while data := os.read(process.stdout.fileno(), 1 << 16):
                sys.stdout.write(decoder.decode(data))
                sys.stdout.flush()
        except BaseException:  # the time is up
            process.kill()
            raise
        return process.wait()
