"""Whether kept models of different students have the same weights, and what the staff is told then.

Theory of operation. Of every kept model a *sketch* is written beside its run: 256 of its weights at places that depend
on nothing but how many there are, and their shapes. A copy that was saved again, has other layer names or a little
noise has nearly the same sketch; weights that have nothing to do with each other are apart by more than their spread
(two independent numbers: by 1.4 of it). After a batch the sketches of a lab's class are compared, and what
is nearer than `NEAR` is a flag for the staff of both, with the evidence. Never a verdict.

Honest runs can be alike too: weights follow from the source where it fixes the seed. Every notebook is run by us, with
a seed drawn from its own bytes, so two that fix none come out apart. Hence no flag where both notebooks call for the
same seed, were seen to train, and carry no data in their source. Who disguises a copy with such a call is not found
here, and neither is who shuffles the units of a layer (docs/threat-model.md).
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from grader import wire
from grader.diagnosis.code import last_name, read_code
from grader.records import Flag, Record
from grader.shelf import Shelf

Floats = NDArray[np.float64]
KIND = "same weights"
#: Weights that a sketch has. Two of 256 numbers drawn apart are never as near as `NEAR`.
SAMPLES = 256
#: Models with fewer weights say too little about where they come from.
FEWEST = 64
#: Distance of two sketches, in standard deviations of their weights: noise of 1 % of the spread is found.
NEAR = 0.02
#: Runs that are read, and compared with all others, at a time; pairs that are, at the most: 4 MiB of distances.
BLOCK, PAIRS = 256, 2**19
#: Runs whose middle is taken for the middle of all.
MIDDLE = 1024
#: Others that a flag names.
SHOWN = 10
SEEDING = {"set_random_seed", "set_seed"}


class Sketch(Record, frozen=True):
    """A kept model in a few numbers."""

    shapes: tuple[tuple[int, ...], ...]
    values: tuple[float, ...]


class Sketched(Record, frozen=True):
    """A run's sketches by contracted name, and what its source says of chance. ``free``: it may be like another."""

    student: str
    submission: str
    sketches: Mapping[str, Sketch]
    seeds: tuple[int, ...] = ()
    free: bool = False


def sketch(kept: bytes) -> Sketch | None:
    """The sketch of what `probe.keep` wrote, which is untrusted; None where there is nothing to compare."""
    try:
        found = wire.from_value(msgspec.msgpack.decode(kept, type=wire.Seq))
    except (msgspec.DecodeError, wire.WireError, RecursionError):
        return None
    arrays = found[1] if isinstance(found, list) and len(found) == 2 and isinstance(found[1], list) else []
    weights = [item for item in arrays if isinstance(item, np.ndarray) and item.dtype.kind == "f"]
    total = sum(item.size for item in weights)
    if total < FEWEST:
        return None
    flat = np.concatenate([item.reshape(-1) for item in weights])
    places = np.sort(np.random.Generator(np.random.PCG64(total)).choice(total, min(SAMPLES, total), replace=False))
    values = flat[places].astype(np.float64)
    if not np.isfinite(values).all() or values.std() == 0:
        return None
    return Sketch(shapes=tuple(item.shape for item in weights), values=tuple(values.tolist()))


def sketches(files: Mapping[str, bytes]) -> dict[str, Sketch]:
    """Those of a run's kept models, by contracted name."""
    names = [path for path in files if path.startswith(".kept/") and "@" not in path]
    found = {path.removeprefix(".kept/"): sketch(files[path]) for path in names}
    return {name: one for name, one in found.items() if one is not None}


def seeds(sources: Iterable[str]) -> tuple[int, ...]:
    """The seeds that these cells set, as numbers: `set_random_seed(42)`, `tf.random.set_seed(SEED)`.

    Only calls count, with a number or with a name that is given one: not what a comment or a string says.
    """
    cells = list(sources)
    given = []
    for node in _nodes(cells, SEEDING):
        if isinstance(node, ast.Call) and last_name(node.func) in SEEDING:
            first = next(iter(node.args), None)
            given.append(first or next((key.value for key in node.keywords if key.arg == "seed"), None))
    names = {node.id for node in given if isinstance(node, ast.Name)}
    named = {
        target.id: node.value
        for node in _nodes(cells, names)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    values = [named.get(node.id) if isinstance(node, ast.Name) else node for node in given]
    return tuple(sorted({v.value for v in values if isinstance(v, ast.Constant) and type(v.value) is int}))


def _nodes(cells: Iterable[str], words: Collection[str]) -> Iterator[ast.AST]:
    """What the cells that hold one of these words parse to: reading all of a class's code took most of comparing it."""
    code = read_code([cell for cell in cells if any(word in cell for word in words)])
    return (node for cell in code.cells if cell.tree for node in ast.walk(cell.tree))


def alike(runs: Iterable[Sketched]) -> dict[str, tuple[Flag, ...]]:
    """{student: flags} of the runs of one lab whose models have the weights of another's."""
    found: dict[str, list[Flag]] = {}
    groups: dict[Any, _Group] = {}
    for run in runs:
        rest = msgspec.structs.replace(run, sketches={})
        for name, one in run.sketches.items():
            key = name, one.shapes
            if key not in groups:
                groups[key] = _Group()
            groups[key].append(rest, one)
    for (name, _), group in groups.items():
        for index, others in _told(group):
            shown = others[:SHOWN].tolist()
            values = group.values([index, *shown])
            spread = values.std(axis=1)
            apart = np.sqrt(((values[1:] - values[0]) ** 2).mean(axis=1)) / np.maximum(spread[1:], spread[0])
            near = [(group.runs[i], by) for i, by in zip(shown, apart.tolist(), strict=True)]
            flag = _flag(name, group.runs[index], near, len(others), values.shape[1])
            found.setdefault(group.runs[index].student, []).append(flag)
    return {student: tuple(flags) for student, flags in found.items()}


class _Group:
    """Runs whose models have one name and the same shapes. Their sketches, 2 kB each, are not held in memory."""

    def __init__(self) -> None:
        self.runs: list[Sketched] = []
        self._sketches = Shelf(Sketch)

    def append(self, run: Sketched, one: Sketch) -> None:
        self.runs.append(run)
        self._sketches.append(one)

    def values(self, places: Iterable[int]) -> Floats:
        """The weights of these runs' sketches, a row for each."""
        return np.array([self._sketches[int(place)].values for place in places])


def _told(group: _Group) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """For each run of a group that is like others, and nothing explains it: its place, and theirs.

    Every pair is compared, a block of runs at a time: first by 16 sums of 16 weights each, which are never farther apart
    than the sketches, and only what is near there by all weights. 10,000 runs take seconds, a matrix of them is never made.
    """
    count = len(group.runs)
    # Distances by products lose digits far from zero. The middle of many is as near as the middle of all.
    centre = np.median(group.values(range(min(count, MIDDLE))), axis=0)
    samples = len(centre)
    sums, spread = np.empty((count, -(-samples // 16))), np.empty(count)
    for start in range(0, count, BLOCK):
        values = group.values(range(start, min(start + BLOCK, count)))
        spread[start : start + BLOCK] = values.std(axis=1)
        sums[start : start + BLOCK] = np.add.reduceat(values - centre, np.arange(0, samples, 16), axis=1) / 4
    explained = _Explained(group.runs)
    size = max(1, min(BLOCK, PAIRS // count))
    for start in range(0, count, size):
        block = np.arange(start, min(start + size, count))
        limit = (NEAR * np.maximum(spread[block, None], spread)) ** 2 * samples
        near = _squares(sums[block], sums) < limit
        near[block - start, block] = False
        rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
        if not rows.size:
            continue
        ours = group.values(block[rows]) - centre
        for at in range(0, columns.size, BLOCK):
            some = columns[at : at + BLOCK]
            part = np.ix_(rows, some)
            near[part] &= _squares(ours, group.values(some) - centre) < limit[part]
            near[part] &= ~explained(block[rows], some)
        for row in rows:
            if near[row].any():
                yield int(block[row]), np.flatnonzero(near[row])


def _squares(ours: Floats, others: Floats) -> Floats:
    """The squared distance of each of these rows from each of the others."""
    squares: Floats = (ours**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * ours @ others.T
    return squares


class _Explained:
    """Whether both sources lead to these weights by themselves. The same bytes do so too, but that is worth a look."""

    def __init__(self, group: Sequence[Sketched]) -> None:
        count = Counter(seed for run in group for seed in set(run.seeds))
        place = {seed: at for at, seed in enumerate(sorted(seed for seed in count if count[seed] > 1))}
        self._seeds = np.zeros((len(group), len(place)), dtype=np.bool_)
        for row, run in enumerate(group):
            self._seeds[row, [place[seed] for seed in run.seeds if seed in place]] = True
        self._free = np.array([run.free for run in group])
        known: dict[str, int] = {}
        self._bytes = np.array([known.setdefault(run.submission, len(known)) for run in group])

    def __call__(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
        shared = self._seeds[rows] @ self._seeds[columns].T
        differ = self._bytes[rows, None] != self._bytes[columns]
        both: NDArray[np.bool_] = self._free[rows, None] & self._free[columns] & shared & differ
        return both


def _flag(name: str, run: Sketched, others: Sequence[tuple[Sketched, float]], count: int, samples: int) -> Flag:
    words = [
        f"{other.student} ({'the same notebook' if other.submission == run.submission else f'apart by {by:.1g}'})"
        for other, by in others
    ]
    more = f" and {count - len(others)} more" if count > len(others) else ""
    message = (
        f"the weights of `{name}` are those of {', '.join(words)}{more} (root mean square difference of "
        f"{samples} weights, in standard deviations), and no seed explains it"
    )
    return Flag(kind=KIND, message=message[:1000])
