"""How long from the request for a kernel to its first answer: warm against cold, for each level of the sandbox.

    python benchmarks/startup.py [--runs 20]

Warm: a fork of a running zygote. Cold: a zygote of its own for the run (what `grader grade --cold` does). Prints
medians and the worst, in seconds, and the level that a canary proves, with what the canary took. A machine that reaches L3
(as root, where control groups can be made) shows the other levels too: L2 is L3 without the groups, L1 is namespaces
without the filter of system calls, L0 is a plain process group. Group: what making, filling and removing a run's control
group takes of a warm run. Run it on a quiet machine; compare only within one sitting.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from grader import wire
from grader.records import Limits
from grader.runner import Job, run_notebook
from grader.sandbox import Backend, Namespaces, available, cgroups
from grader.sandbox.canary import prove
from grader.worker import matplotlib_cache
from grader.zygote import Zygote

JOB = Job(cells=(wire.SourceCell("code", "1 + 1"),), seed=0, limits=Limits(memory_mb=2048, disk_mb=64, threads=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="warm runs for each backend")
    runs = parser.parse_args().runs
    print(
        f"{'backend':<12} {'level':>5} {'kernel ready':>14} {'worst':>8} {'whole run':>12} {'cold run':>10} {'canary':>8}"
    )
    found = available()
    has_groups = cgroups.find() is not None
    for backend in found:
        show(backend, runs)
    if has_groups:
        print(f"group: {statistics.median(group() for _ in range(runs)) * 1000:.2f} ms")
        cgroups.make = lambda limit_mb, processes: None
        show(found[0], runs)
    show(Unfiltered(), runs)


@dataclass(frozen=True)
class Unfiltered(Namespaces):
    """Namespaces alone, which is L1."""

    def plan(self, *args: Any, **named: Any) -> dict[str, Any]:
        return {**super().plan(*args, **named), "seccomp": False}


def show(backend: Backend, runs: int) -> None:
    """Print the row of that backend."""
    proof = prove(backend, sys.executable)
    if proof.problem:
        print(f"{backend.name:<12} {proof.problem}")
        return
    ready, whole, cold = measure(backend, runs)
    print(
        f"{backend.name:<12} {proof.level.name:>5} {statistics.median(ready):>14.3f} {max(ready):>8.3f}"
        f" {statistics.median(whole):>12.3f} {cold:>10.3f} {proof.start_s:>8.3f}"
    )


def group() -> float:
    """Seconds to make a control group, put a process in, and end both."""
    command = [sys.executable, "-I", "-S", "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        begin = time.perf_counter()
        made = cgroups.make(64, 16)
        assert made is not None
        made.add(process.pid)
        made.close()
        return time.perf_counter() - begin


def measure(backend: Backend, runs: int) -> tuple[list[float], list[float], float]:
    """(fork to first answer, whole run) of each warm run, and one cold run including its zygote."""
    options = {"matplotlib_cache": matplotlib_cache(sys.executable)}
    ready, whole = [], []
    begin = time.perf_counter()
    with Zygote(backend, sys.executable, options=options) as zygote:
        one(zygote)
        cold = time.perf_counter() - begin
        for _ in range(runs):
            first, total = one(zygote)
            ready.append(first)
            whole.append(total)
    return ready, whole, cold


def one(zygote: Zygote) -> tuple[float, float]:
    """One run: (seconds to the first cell, seconds in all)."""
    begin = time.perf_counter()
    seen: list[float] = []
    with run_notebook(zygote, JOB, lambda text: seen.append(time.perf_counter() - begin)) as run:
        assert run.facts.ending.value == "ok", run.facts.ending_detail
    return seen[0], time.perf_counter() - begin


if __name__ == "__main__":
    main()
