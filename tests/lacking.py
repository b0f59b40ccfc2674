"""What to do where this machine lacks something a test needs: skip and say so, but never in CI, which installs it."""

from __future__ import annotations

import os

import pytest


def lacking(what: str, *, installable: bool = True) -> None:
    """Skip this test; in CI (CI=true) fail it instead, so that nothing is left unproved in silence.

    What nobody can install (control groups that the machine does not give away, say) is skipped there too: the reason
    stands at the end of the run, and `.ci/run` prints the level that was proved.
    """
    if installable and os.environ.get("CI") == "true":
        pytest.fail(f"CI has to prove this: {what}")
    pytest.skip(what)
