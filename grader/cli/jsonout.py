"""``--json``: exactly one object on stdout, whatever else tries to write there.

While a command works, descriptor 1 points to stderr: a hidden suite that prints, or a library that does, cannot
spoil the object. A failure is an object too, with ``error`` and ``exit_code``.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

SCHEMA = 1


def document(command: str, exit_code: int, **content: Any) -> bytes:
    """The object as readable UTF-8 JSON, one line feed at its end."""
    import msgspec

    whole = {"schema": SCHEMA, "command": command, "exit_code": exit_code, **content}
    return msgspec.json.format(msgspec.json.encode(whole, enc_hook=str), indent=1) + b"\n"


def write(command: str, exit_code: int, content: Mapping[str, Any]) -> int:
    """Print the object; returns the exit code so that a command can end with it."""
    sys.stdout.flush()
    sys.stdout.buffer.write(document(command, exit_code, **content))
    sys.stdout.buffer.flush()
    return exit_code


def write_failure(command: str, text: str, exit_code: int) -> None:
    write(command, exit_code, {"error": text})


@contextlib.contextmanager
def quiet_stdout(*, active: bool) -> Iterator[int]:
    """While active, whatever is written to stdout lands on stderr. Yields a descriptor of the real stdout."""
    if not active:
        yield 1
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield kept
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
