"""The same class graded by nbgrader, otter and this grader, in one sitting, and what it costs without any grader.

    make bench                                   # both labs below, into build/bench
    python benchmarks/throughput.py --lab iris   # N iris notebooks: the table of ratios
    python benchmarks/throughput.py --lab mnist  # the reference of mnist: against ideal packing on the cores
    python benchmarks/throughput.py --lab mnist --data FOLDER --tier full   # the same with all of MNIST

A notebook of the iris class trains a small network for thirty epochs; what differs between the systems is only how it
asks for the accuracy. `nbgrader` and `otter` grade one after another, as they do for their users; `bare` runs the cells
as a script, a process each; `train` runs them again and again in one process that has imported everything: no grader
can need less. `grader` is the command line with its defaults: a sandbox, the hidden suite of the iris lab, saved models
loaded again in the clean sandbox, cards, overview and gradebook; everything from the start of the process to its end is
counted. `grader-live` is the same with a suite that asks the notebook's kernel only, without the clean sandbox.

Of mnist there are two ideals, each the wall time of a process with one thread divided by the cores: `bare` is all of the
process, its imports included, as a script for each submission would be; `bare-train` is the same process from the moment
when everything is imported, which no grader that starts anything can reach.

The systems take turns, three each unless told otherwise; median and least are shown. Wall time is that of the commands.
Processor time and memory are those of a control group around them (runs are killed, not waited for, so `getrusage`
misses them); without the right to make one, those of the whole machine. Machines differ and drift: quote ratios of one
sitting.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import classes
from counters import Counter, cores, machine

ROOT = Path(__file__).resolve().parent.parent
OTHERS = ROOT / ".bench-venv" / "bin"
GOALS = {"nbgrader": 8.0, "otter": 13.0}
CPU_ABOVE_TRAIN_S = 0.25
PACKING = 1.05


@dataclass(frozen=True)
class Measured:
    """One system's turn: seconds for each submission, and the most memory that all its processes had together."""

    system: str
    n: int
    wall_s: float
    cpu_s: float
    peak_mb: float

    @property
    def per_minute(self) -> float:
        return 60 / self.wall_s


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", choices=["iris", "mnist"], default="iris")
    parser.add_argument("--n", type=int, default=40, help="notebooks of the class")
    parser.add_argument("--others", type=int, default=8, help="how many of them the slow systems grade")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each system")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="folder with the full data sets")
    parser.add_argument("--tier", choices=["full", "lite"], help="insist on this tier of the data")
    parser.add_argument("--jobs", type=int, default=cores(), help="runs at a time of the grader")
    parser.add_argument("--systems", nargs="*", help="only these")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench")
    options = parser.parse_args()
    options.data = options.data and options.data.resolve()
    table = IRIS if options.lab == "iris" else MNIST
    chosen = options.systems or list(table)
    turns: dict[str, list[Measured]] = {name: [] for name in chosen}
    for number in range(options.rounds):
        for name in chosen:
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                turn = table[name](Path(folder), options)
            turns[name].append(turn)
            load = os.getloadavg()[0]
            print(
                f"round {number + 1}: {name:<12} {turn.n:>3} x {turn.wall_s:6.2f} s wall, {turn.cpu_s:6.2f} s CPU,"
                f" {turn.peak_mb:7.0f} MiB at most (load {load:.1f})",
                file=sys.stderr,
                flush=True,
            )
    found = {name: Turns.of(many) for name, many in turns.items() if many}
    text = heading(options) + (iris_table(found) if options.lab == "iris" else mnist_table(found, options.jobs))
    options.out.mkdir(parents=True, exist_ok=True)
    each = {system: [asdict(turn) for turn in many] for system, many in turns.items()}
    kept = {"command": command(), "machine": machine(), "jobs": options.jobs, "turns": each}
    name = "-".join(filter(None, (options.lab, options.tier)))
    (options.out / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    (options.out / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


@dataclass(frozen=True)
class Turns:
    """A system's turns: of each figure the median, and apart from the others the least; of the memory the most."""

    median: Measured
    least: Measured

    @classmethod
    def of(cls, turns: list[Measured]) -> Turns:
        def summed_up(what: Callable[[list[float]], float]) -> Measured:
            wall, cpu = what([t.wall_s for t in turns]), what([t.cpu_s for t in turns])
            return Measured(turns[0].system, turns[0].n, wall, cpu, max(t.peak_mb for t in turns))

        return cls(summed_up(statistics.median), summed_up(min))

    def row(self) -> str:
        """What follows the system's name in a table."""
        one, best = self.median, self.least
        return (
            f"{one.n} | {one.per_minute:.1f} | {one.wall_s:.2f} | {best.wall_s:.2f} |"
            f" {one.cpu_s:.2f} | {best.cpu_s:.2f} | {one.peak_mb:.0f}"
        )


def command() -> str:
    """This program's command line, as it can be given again."""
    return shlex.join(["python", "benchmarks/throughput.py", *sys.argv[1:]])


def heading(options: Any) -> str:
    """What was measured: above each table."""
    turns = f"{options.rounds} turns of each system" if options.rounds > 1 else "one turn of each system"
    return f"`{command()}`, {time.strftime('%Y-%m-%d')}\n\n{machine()}, {options.jobs} jobs, {turns}\n\n"


# ---------------------------------------------------------------- the systems


def commands(
    system: str, n: int, made: list[list[str]], folder: Path, environ: dict[str, str] | None = None
) -> Measured:
    """Run the commands one after another, and divide what they took by ``n``."""
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(environ or {})}
    with Counter() as counter:
        for command in made:
            done = subprocess.run(
                command, cwd=folder, env=env, check=False, capture_output=True, text=True, preexec_fn=counter.enter
            )
            if done.returncode:
                sys.exit(
                    f"{' '.join(command)[:200]} failed with {done.returncode}: {(done.stderr or done.stdout)[-2000:]}"
                )
    return Measured(system, n, counter.wall_s / n, counter.cpu_s / n, counter.peak_mb)


def nbgrader(folder: Path, options: Any) -> Measured:
    """One process grades all. Its start is counted as in a class of ``--n``: measured with one and with ``--others``.

    The very first one may find a cold disk, and is not counted.
    """
    found = []
    for place, n in enumerate((1, 1, options.others)):
        root = folder / str(place)
        classes.nbgrader_course(root, n, OTHERS)
        turn = commands(
            "nbgrader", n, [[str(OTHERS / "nbgrader"), "autograde", "iris"]], root, classes.with_path(OTHERS)
        )
        classes.check_nbgrader(root, n)
        found.append(turn)
    _, one, some = found
    if options.others == 1:
        return one

    def scaled(first: float, all_of_them: float) -> float:
        each = (all_of_them * some.n - first) / (some.n - 1)
        return (first + each * (options.n - 1)) / options.n

    return Measured("nbgrader", some.n, scaled(one.wall_s, some.wall_s), scaled(one.cpu_s, some.cpu_s), some.peak_mb)


def otter(folder: Path, options: Any) -> Measured:
    made = classes.otter_course(folder, options.others, OTHERS)
    return commands("otter", options.others, made, folder, classes.with_path(OTHERS))


def bare(folder: Path, options: Any) -> Measured:
    (folder / "iris.py").write_text(f"{classes.SOLUTION}\n{classes.TEST}\n", encoding="utf-8")
    return commands("bare", options.others, [[sys.executable, "iris.py"]] * options.others, folder)


def train(folder: Path, options: Any) -> Measured:
    """Times itself, after its imports and a first training: the floor is what every further one takes."""
    body = textwrap.indent(f"{classes.SOLUTION}\n{classes.TEST}", "    ")
    (folder / "iris.py").write_text(TRAIN.format(body=body, n=options.n), encoding="utf-8")
    with Counter() as counter:
        done = subprocess.run(
            [sys.executable, "iris.py"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            preexec_fn=counter.enter,
        )
    wall, cpu = map(float, done.stdout.split()[-2:])
    return Measured("train", options.n, wall / options.n, cpu / options.n, counter.peak_mb)


TRAIN = """
import time
import keras, numpy, sklearn.datasets, tensorflow
keras.layers.Dense
wall, cpu = time.perf_counter(), time.process_time()
for _ in range({n}):
{body}
print(time.perf_counter() - wall, time.process_time() - cpu)
"""


def grader(folder: Path, options: Any) -> Measured:
    classes.notebooks(folder / "class", options.n)
    return graded("grader", folder, options, ROOT / "labs")


def grader_live(folder: Path, options: Any) -> Measured:
    classes.notebooks(folder / "class", options.n)
    return graded("grader-live", folder, options, classes.live_lab(folder, ROOT / "labs" / "iris"))


def graded(system: str, folder: Path, options: Any, labs: Path) -> Measured:
    program = str(Path(sys.executable).with_name("grader"))
    data = (
        *(("--data", str(options.data)) if options.data else ()),
        *(("--tier", options.tier) if options.tier else ()),
    )
    given = [program, "grade", "class", "--out", "cards", "--jobs", str(options.jobs), *data, "--json"]
    turn = commands(system, options.n, [given], folder, {"GRADER_LABS": str(labs)})
    classes.check_cards(folder / "cards", options.n)
    return turn


IRIS: dict[str, Callable[[Path, Any], Measured]] = {
    "grader": grader,
    "nbgrader": nbgrader,
    "train": train,
    "grader-live": grader_live,
    "otter": otter,
    "bare": bare,
}


# ---------------------------------------------------------------- mnist


ONE_THREAD = {
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MPLBACKEND": "agg",
}


def mnist_bare(folder: Path, options: Any) -> Measured:
    """The reference's cells as a script, one process on one core: what ideal packing packs."""
    mnist_script(folder, options)
    return commands("bare", options.others, [[sys.executable, "mnist.py"]] * options.others, folder, ONE_THREAD)


def mnist_bare_train(folder: Path, options: Any) -> Measured:
    """The same process, which times itself from the end of its imports."""
    mnist_script(folder, options)
    wall = cpu = 0.0
    with Counter() as counter:
        for _ in range(options.others):
            done = subprocess.run(
                [sys.executable, "mnist.py"],
                cwd=folder,
                env={**os.environ, **ONE_THREAD, "TF_CPP_MIN_LOG_LEVEL": "3"},
                capture_output=True,
                text=True,
                check=True,
                preexec_fn=counter.enter,
            )
            one_wall, one_cpu = map(float, done.stdout.split()[-2:])
            wall, cpu = wall + one_wall, cpu + one_cpu
    return Measured("bare-train", options.others, wall / options.others, cpu / options.others, counter.peak_mb)


def mnist_script(folder: Path, options: Any) -> None:
    """The reference's cells as mnist.py, whose last words are the seconds since its imports, of the clock and processor."""
    cells = classes.script(ROOT / "reference_solutions" / "mnist.ipynb")
    mounted = MOUNTED.format(file=str(classes.mounted("mnist", options.data, options.tier) / "mnist.npz"))
    (folder / "mnist.py").write_text(classes.imports(cells) + BEGUN + mounted + cells + ENDED, encoding="utf-8")


BEGUN = "import keras, time\nkeras.layers.Dense\nclock_begun, cpu_begun = time.perf_counter(), time.process_time()\n"
ENDED = "\nprint()\nprint(time.perf_counter() - clock_begun, time.process_time() - cpu_begun)\n"


#: The same rows as the sandbox shows, withheld ones left out.
MOUNTED = """
import keras, numpy
with numpy.load({file!r}) as held:
    arrays = {{name: held[name] for name in held}}
keras.datasets.mnist.load_data = lambda: (
    (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
)
"""


def mnist_grader(folder: Path, options: Any) -> Measured:
    classes.copies(ROOT / "reference_solutions" / "mnist.ipynb", folder / "class", options.n)
    return graded("grader", folder, options, ROOT / "labs")


MNIST: dict[str, Callable[[Path, Any], Measured]] = {
    "grader": mnist_grader,
    "bare": mnist_bare,
    "bare-train": mnist_bare_train,
}
#: What the ideals of mnist are called in its table.
IDEALS = {"bare": "all of the bare process", "bare-train": "the bare training, less its imports"}
HEAD = """\
| system | submissions | per minute | wall s each | least | CPU s each | least | peak MiB |
|---|--:|--:|--:|--:|--:|--:|--:|"""


# ---------------------------------------------------------------- tables


def iris_table(found: dict[str, Turns]) -> str:
    lines = [HEAD, *(f"| {name} | {turns.row()} |" for name, turns in found.items())]
    lines += ["", "| ratio of medians | found | goal |", "|---|--:|--:|"]
    medians = {name: turns.median for name, turns in found.items()}
    for ours in ("grader", "grader-live"):
        for other, goal in GOALS.items():
            if ours in medians and other in medians:
                ratio = medians[ours].per_minute / medians[other].per_minute
                lines.append(f"| {ours} : {other}, submissions per minute | {ratio:.1f} | {goal:.0f} |")
        if ours in medians and "train" in medians:
            above = medians[ours].cpu_s - medians["train"].cpu_s
            lines.append(f"| {ours} − train, CPU s each | {above:.2f} | {CPU_ABOVE_TRAIN_S} |")
    return "\n".join(lines) + "\n"


def mnist_table(found: dict[str, Turns], jobs: int) -> str:
    lines = [HEAD, *(f"| {name} | {turns.row()} |" for name, turns in found.items())]
    ideals = {name: turns.median.wall_s / jobs for name, turns in found.items() if name in IDEALS}
    if "grader" in found and ideals:
        lines += ["", "| ideal packing of | s each | grader : ideal, of medians | goal |", "|---|--:|--:|--:|"]
    if "grader" in found:
        ours = found["grader"].median.wall_s
        lines += [
            f"| {IDEALS[name]} | {ideal:.2f} | {ours / ideal:.3f} | {PACKING if name == 'bare' else ''} |"
            for name, ideal in ideals.items()
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
