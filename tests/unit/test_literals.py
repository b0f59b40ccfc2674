"""A notebook that carries data in its source is found, and one that carries prose and code is not."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader.submissions import Cell, code_bytes, large_literals

ROOT = Path(__file__).parents[2]


def code(*sources):
    return tuple(Cell(kind="code", source=source) for source in sources)


def table(bytes_held, seed=0):
    return base64.b64encode(np.random.default_rng(seed).bytes(bytes_held)).decode()


CARRIERS = {
    "base64 in a string": f'import base64\nTABLE = base64.b64decode("{table(4000)}")',
    "bytes": f"TABLE = {np.random.default_rng(1).bytes(3000)!r}",
    "a dict of hashes": f"TABLE = { {int(h): int(h) % 10 for h in np.random.default_rng(2).integers(0, 2**31, 900)}!r}",
    "weights": f"W = {np.random.default_rng(3).normal(size=(60, 10)).tolist()}",
    "inside a call": f"import numpy as np\nX = np.array({np.random.default_rng(4).integers(0, 256, 2500).tolist()})",
    "under a magic": f'%%time\nTABLE = "{table(4000)}"',
    "in source that does not parse": f'def broken(:\nTABLE = "{table(4000)}"',
    "in a comment": f"x = In[1]\n# {table(4000)}",
    "in many comments": "x = 1\n" + "\n".join(f"# {table(60, seed)}" for seed in range(70)),
}


@pytest.mark.parametrize("source", CARRIERS.values(), ids=CARRIERS)
def test_data_in_the_source_is_found_with_its_place(source):
    """A table of answers or weights is found, with its cell and line, however it is written down."""
    found = large_literals(code("import math", source))
    assert [literal.cell for literal in found] == [2]
    assert found[0].line == (2 if source.startswith("x = 1") else source.count("\n") + 1)
    assert found[0].held > 2000


def test_a_table_cut_into_many_small_literals_is_found():
    """Pieces that are each too small to notice are found together."""
    pieces = [f'T{number} = "{table(600, number)}"' for number in range(16)]
    assert not large_literals(code(*pieces[:2]))
    assert len(large_literals(code(*pieces))) == 16


def test_notebooks_of_honest_students_carry_no_data():
    """No reference and no sample of this checkout is flagged, nor is long prose in a docstring."""
    for path in [*ROOT.glob("reference_solutions/*.ipynb"), *ROOT.glob("submissions/student-0[1-9]*/*.ipynb")]:
        notebook = json.loads(path.read_text())
        cells = code(*("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"))
        assert not large_literals(cells), path
    prose = "\n".join(f"The loss of step {step} is the mean over the batch." for step in range(200))
    assert not large_literals(code(f'"""{prose}"""'))
    old = "\n".join(f"# model{n}.add(keras.layers.Dense({n}, activation='relu'))  # {n * n}" for n in range(900))
    assert not large_literals(code(old + "\n# " + "=" * 4000 + "\n# https://example.org/" + "a/" * 60))


def test_markdown_does_not_count_as_code():
    """Pictures pasted into markdown are nobody's table: they never reach the kernel."""
    cells = (Cell(kind="markdown", source=table(100_000)), Cell(kind="code", source="x = 1  # é"))
    assert not large_literals(cells)
    assert code_bytes(cells) == len("x = 1  # é".encode())


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "source",
    ["[" * 5000, "x = " + "-" * 5000 + "1", "(" * 300 + ")" * 300, '"' * 10_001, "\f\x0c'''\f'''", "'\"" * 50_000],
)
def test_hostile_source_is_read_to_its_end(source):
    """Source that breaks parsers or regular expressions is read to its end: nothing there is quadratic."""
    assert all(literal.cell in {1, 2} for literal in large_literals(code(source * 3, source)))


@given(st.lists(st.text(max_size=300), max_size=5))
def test_any_text_is_read_without_error(sources):
    """Whatever a cell holds, the search ends without an error, and small cells hold no data."""
    assert large_literals(code(*sources)) == ()
