"""How long from the request for a kernel to its first answer: warm against cold, for each sandbox backend.

    python benchmarks/startup.py [--runs 20]

Warm: a fork of a running zygote. Cold: a zygote of its own for the run (what `grader grade --cold` does). Prints
medians and the worst, in seconds. Run it on a quiet machine; compare only within one sitting.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from grader import wire
from grader.batch import matplotlib_cache
from grader.records import Limits
from grader.runner import Job, run_notebook
from grader.sandbox import Backend, available
from grader.zygote import Zygote

JOB = Job(cells=(wire.SourceCell("code", "1 + 1"),), seed=0, limits=Limits(memory_mb=2048, disk_mb=64, threads=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="warm runs for each backend")
    runs = parser.parse_args().runs
    print(f"{'backend':<12} {'kernel ready':>14} {'whole run':>12} {'worst ready':>12} {'cold run':>10}")
    for backend in available():
        ready, whole, cold = measure(backend, runs)
        print(
            f"{backend.name:<12} {statistics.median(ready):>14.3f} {statistics.median(whole):>12.3f}"
            f" {max(ready):>12.3f} {cold:>10.3f}"
        )


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
