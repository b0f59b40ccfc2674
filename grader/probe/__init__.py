"""The probe: answers questions about a notebook's objects, inside the sandbox.

Theory of operation. The probe lives in the kernel process (or, in a clean sandbox, alone). It holds the
student's namespace, evaluates the expression of each question against it, and encodes what comes out as
plain data. It also hooks training (`hooks`) and redirects the well-known data loaders to the mounted copy
(`data`). Everything it says is untrusted: a hostile notebook can change any of it. That is why it holds no
label, no threshold and no expected value, and why its answers are graded *observed*.

An island: standard library, numpy, the wire and the clock; Keras and TensorFlow only through the kernel's own imports.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from grader import wire
from grader.owntime import OwnTime, Patience
from grader.probe.encode import plain, type_name
from grader.probe.evaluate import Missing, evaluate

__all__ = ["Probe", "QuestionTimeout"]

#: Exceptions are told in at most this many characters: their text is the student's.
MESSAGE_CAP = 2000
#: An answer's own time is measured from here on: most answers are there before, and cost no look at all threads.
QUICK_S = 1.0


class QuestionTimeout(BaseException):
    """The answer took longer than its deadline. Not an Exception, so that student code does not swallow it."""


class Probe:
    """Answers questions over one namespace. ``answer`` never raises."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace
        self.handles: dict[int, Any] = {}

    def answer(self, ask: wire.Ask) -> wire.Answer:
        """Evaluate one question; every failure becomes an answer that says whose it was."""
        start = time.perf_counter()
        try:
            with _deadline(ask.deadline_s):
                _seed(ask)
                result = evaluate(ask.expr, self.namespace, self.handles)
                value = self._encode(result, ask.want)
            status: Any = "ok"
            fault = None
        except Missing as error:
            value, status, fault = None, "missing", wire.Fault("Missing", str(error)[:MESSAGE_CAP])
        except wire.WireError as error:
            value, status, fault = None, "refused", wire.Fault("CannotCross", str(error)[:MESSAGE_CAP])
        except QuestionTimeout:
            value, status = None, "timeout"
            fault = wire.Fault("Timeout", f"no answer within {ask.deadline_s:.0f} s")
        except BaseException as error:  # the student's code raised: SystemExit and KeyboardInterrupt included
            value, status, fault = None, "error", describe_fault(error)
        return wire.Answer(ask.nonce, status, value, fault, time.perf_counter() - start)

    def reply(self, ask: wire.Ask) -> bytes:
        """The answer as one frame. One that is too large, or no Unicode, becomes a refusal: it must not cost the kernel."""
        answer = self.answer(ask)
        try:
            data = wire.frame(answer)
            if len(data) <= ask.max_bytes:
                return data
            why = f"{len(data) >> 20} MiB, more than the {ask.max_bytes >> 20} MiB that an answer may have"
        except wire.WireError as error:
            why = str(error)
        fault = wire.Fault("CannotCross", why.encode("utf-8", "replace").decode()[:MESSAGE_CAP])
        return wire.frame(wire.Answer(ask.nonce, "refused", None, fault, answer.seconds))

    def _encode(self, result: Any, want: wire.Want) -> wire.Value:
        if want == "handle":
            return self._handle(result)
        try:
            return plain(result)
        except wire.WireError:
            if want == "value":
                raise
            return self._handle(result)

    def _handle(self, result: Any) -> wire.Handle:
        number = len(self.handles) + 1
        self.handles[number] = result
        return wire.Handle(number, type_name(result))


def describe_fault(error: BaseException) -> wire.Fault:
    """The exception in bounded words: a message that loops, exits or is 1 GB long must not hurt."""
    try:
        message = str(error)[:MESSAGE_CAP].encode("utf-8", "replace").decode()
    except BaseException:  # student code runs in __str__
        message = "(the exception could not be shown)"
    line, source = None, ""
    try:
        for entry in traceback.extract_tb(error.__traceback__):
            if "ipykernel_" in entry.filename or entry.filename.startswith(("<ipython", "/tmp/")):
                line, source = entry.lineno, (entry.line or "")[:300]
    except Exception:
        line = None
    return wire.Fault(type_name(error).rpartition(".")[2], message, line, source)


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Raise QuestionTimeout in this thread after so much own time, where the platform has interval timers."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return
    quick = min(QUICK_S, seconds / 2)
    own = OwnTime(os.cpu_count() or 1, lambda: [os.getpid()])
    patience: Patience | None = None

    def expire(*_: Any) -> None:
        nonlocal patience
        own.look()
        patience = patience or Patience(seconds - quick, own)
        left = patience.left()
        if not left:
            raise QuestionTimeout
        signal.setitimer(signal.ITIMER_REAL, left)

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, quick)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _seed(ask: wire.Ask) -> None:
    """Stochastic and mutating questions start from the draw's seed, so that the same bytes meet the same chance."""
    if ask.kind == "pure":
        return
    import sys

    np.random.seed(ask.seed & 0xFFFFFFFF)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(ask.seed & 0xFFFFFFFF)
