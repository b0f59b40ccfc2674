"""Every error the grader raises on purpose, and the exit code each one ends in.

Blame is a type: who has to act is decided by the class, never by reading the message.
An error says what is wrong, where, and what to do next; the command line prints it on one
line and shows a traceback only with ``--debug``.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

EXIT_OK = 0
EXIT_USAGE = 2
EXIT_LAB = 3
EXIT_OURS = 4
#: Nothing went wrong, but not everything is graded: some runs wait for a machine with a GPU. Hides no other code.
EXIT_DEFERRED = 5


class GraderError(Exception):
    """Base of all errors raised on purpose.

    ``what`` says what is wrong, ``where`` names the file, setting or step, ``fix`` says what to do next.
    """

    exit_code = EXIT_OURS

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} ({self.fix})" if self.fix else text


class UsageError(GraderError):
    """The command, its options or course.toml ask for something that cannot be."""

    exit_code = EXIT_USAGE


class LabError(GraderError):
    """A lab is wrong: its spec, its suite, its reference. The lab's author has to act."""

    exit_code = EXIT_LAB


class SubmissionError(GraderError):
    """What was handed in cannot be graded. The student has to act; the batch goes on."""

    exit_code = EXIT_OK


class DataError(GraderError):
    """A data set is missing, incomplete or not the one it claims to be."""

    exit_code = EXIT_USAGE


class OursError(GraderError):
    """The grader, its machine or its environment failed. Never the student's fault."""


class SandboxError(OursError):
    """The sandbox could not be made, or is weaker than the course demands."""


class SandboxDied(SandboxError):
    """Something of the sandbox was killed or gave no answer. It may do better the next time: nothing is proved by it."""


class ChannelError(GraderError):
    """The untrusted end broke the protocol: closed, flooded or sent something malformed.

    Costs that one run its remaining answers and nobody else anything.
    """

    exit_code = EXIT_OK


def suggest(word: str, options: Iterable[str]) -> str:
    """What to do about an unknown word: the nearest known one, or all of them when none is near."""
    known = sorted(set(options))
    by_folded = {option.casefold(): option for option in known}
    near = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{by_folded[near[0]]}'?"
    return f"known: {', '.join(known)}" if known else "none are known"


def plain(text: str, limit: int = 200) -> str:
    """Foreign text (a file name, a key, a message) made fit for one line of a terminal.

    Control and format characters go: they could forge a line, colour it or reverse it.
    """
    shown = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    shown = " ".join(shown.split())
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
