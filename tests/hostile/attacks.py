"""The corpus as data: one TOML file for each attack, read strictly, and what must come of it.

    corpus/<section>/<number>_<name>.toml      the attack's id is section and number: a/05_… is A5

A file says what the attack does, gives the cells of a notebook that does it, and how that must end. Sections A to I are
those of the list that the grader was built against; J holds what was thought of since. Where one attack can be done in
several ways, each is a notebook of its own: a table of ``[[ways]]`` has a name and whatever differs. An attack that is no
notebook (a zip, a name, a page in a browser) is a test that bears the marker ``attack``; both kinds are in the table
that ``make hostile`` prints and in docs/threat-model.md.
"""

from __future__ import annotations

import ast
import base64
import random
import tomllib
from pathlib import Path

import msgspec

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
LABS = HERE / "labs"
#: How many attacks each section of the list has; J may have any number.
SECTIONS = {"A": 13, "B": 6, "C": 16, "D": 5, "E": 13, "F": 17, "G": 8, "H": 4, "I": 10}

#: What comes before every attack: honest work that must keep its points, and a way to say that something worked.
PROLOGUE = '''
def g(x): return 2 * x
open("before.txt", "w").write("before")
escaped = []
def attempt(name, act):
    """Note that it worked: it raised nothing and did not give False."""
    try:
        if act() is False:
            return
    except BaseException:
        return
    escaped.append(name)
'''
HONEST = {
    "plain": """
x = 0.95
def f(table): return table.mean(axis=1)
class Thing:
    def __init__(self, n): self.n = n
    def add(self, k):
        self.n += k
        return self.n
""",
    "own": """
import keras, tensorflow as tf
def curve(x): return tf.math.softplus(tf.convert_to_tensor(x))
def slope(x):
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = curve(x)
    return tape.gradient(y, x)
class MyDense(keras.layers.Layer):
    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units
    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units))
        self.bias = self.add_weight(shape=(self.units,))
    def call(self, x): return tf.matmul(x, self.kernel) + self.bias
""",
    "net": """
import keras
(x_train, y_train), _ = keras.datasets.mnist.load_data()
keras.utils.set_random_seed(HONEST_SEED)
model = keras.Sequential([
    keras.layers.Input((28, 28)), keras.layers.Flatten(), keras.layers.Dense(16, activation="relu"),
    keras.layers.Dense(10, activation="softmax")])
model.compile("adam", "sparse_categorical_crossentropy")
model.fit(x_train[:4000] / 255.0, y_train[:4000], epochs=4, verbose=0)
model.save("net.keras")
""",
}
#: What stands for A_GIANT_LITERAL in a file: data of 300 kB. A_PIECE_0 to A_PIECE_9 are its first pieces of 1,500 letters.
GIANT = base64.b64encode(random.Random(34).randbytes(225_000)).decode()
#: Checks that an attack must not win, and those that it must leave alone.
AT_STAKE = {
    "plain": ("function", "thing", "value"),
    "net": ("accuracy", "trained", "saved"),
    "own": ("forward", "gradient", "dense"),
}
ALONE = {"plain": ("unharmed", "file", "contained"), "net": ("unharmed", "file"), "own": ("unharmed", "file")}
#: Labs whose notebooks need TensorFlow.
TENSORFLOW = ("net", "own")


class Attack(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One notebook that attacks, and what must come of it.

    ``passes`` are checks at stake that it may pass, because it does not lie about them; ``costs`` are those to be left
    alone that it loses by its own doing. ``found`` has to stand in a check's finding or in how the run ended, ``flags``
    have to be raised. ``beside``: an honest run goes on at the same time, in another zygote. ``honest_model``: a good
    model was trained and saved before. ``long``: a question has to time out. ``twice``: a friend hands in the same after
    it, and the friend's verdict is judged. ``stored`` are outputs that the file brings with its last cell, and ``unseen`` a
    word of theirs that must stand nowhere in what is kept of the run. ``markdown`` are cells with attachments, before the
    others. ``level`` is the first that stops it, ``below`` what it gains below that one. ``way`` is the name of the way.
    """

    does: str
    cells: tuple[str, ...]
    ending: tuple[str, ...] = ("ok",)
    lab: str = "plain"
    passes: tuple[str, ...] = ()
    costs: tuple[str, ...] = ()
    found: str = ""
    flags: tuple[str, ...] = ()
    beside: bool = False
    honest_model: bool = False
    long: bool = False
    twice: bool = False
    stored: tuple[dict[str, object], ...] = ()
    unseen: str = ""
    markdown: tuple[dict[str, object], ...] = ()
    metadata: dict[str, object] = {}
    level: int = 0
    below: str = ""
    id: str = ""
    way: str = ""

    @property
    def slow(self) -> bool:
        """Whether it takes more than about two seconds: it needs TensorFlow, time has to run out, memory to fill."""
        return (
            self.lab in TENSORFLOW
            or self.beside
            or self.long
            or "timeout" in self.ending
            or "out of memory" in self.ending
        )


def load() -> list[Attack]:
    """Every attack of the corpus that is a notebook, by id and way."""
    found = []
    for path in sorted(CORPUS.glob("*/*.toml")):
        number, _, _ = path.stem.partition("_")
        told = tomllib.loads(path.read_text("utf-8"))
        # ``first``: cells that all ways have in common, before their own.
        first, ways = told.pop("first", []), told.pop("ways", [{}])
        for way in ways:
            assert not {"does", "level", "below"} & set(way), f"{path}: an attack has these once, for all its ways"
            merged = {**told, **way, "id": f"{path.parent.name.upper()}{int(number)}", "way": way.get("way", "")}
            found.append(msgspec.convert({**merged, "cells": [*first, *merged["cells"]]}, Attack))
    assert len({(attack.id, attack.way) for attack in found}) == len(found), "two ways have one name"
    return found


def written() -> dict[str, str]:
    """{id: what it does} of the attacks that are tests of their own, read from their markers."""
    found = {}
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            literal = isinstance(node, ast.Call) and all(isinstance(arg, ast.Constant) for arg in node.args)
            if literal and ast.unparse(node.func) == "pytest.mark.attack":
                name, does = (ast.literal_eval(arg) for arg in node.args)
                assert name not in found, f"{name} is told twice"
                found[name] = does
    return found


def listed() -> set[str]:
    """The ids of the list."""
    numbers = iter(range(1, 1 + sum(SECTIONS.values())))
    return {f"{section}{next(numbers)}" for section, count in SECTIONS.items() for _ in range(count)}
