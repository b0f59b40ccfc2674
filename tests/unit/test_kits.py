"""The student's kit: all that a student needs, nothing that is hidden, and the same bytes every time."""

from __future__ import annotations

import ast
import io
import json
import re
import tomllib
import zipfile
from pathlib import Path

import nbformat
import pytest

from grader.authoring.kit import (
    MOST_BYTES,
    Kit,
    as_toml,
    leaks,
    make_kit,
    make_starter,
    repository,
    requirements,
    secrets_of,
    write_folder,
)
from grader.authoring.scaffold import new_lab
from grader.errors import LabError, UsageError
from grader.labs import load_lab
from grader.labs.alternatives import read_alternatives
from grader.labs.starter import notebook_bytes, read_mutants, read_reference, reference_path, source, starter

LABS = Path(__file__).resolve().parents[2] / "labs"
LAB_IDS = sorted(path.parent.name for path in LABS.glob("*/lab.toml"))
LONG = 25
FILES = (
    r"README\.md|requirements\.txt|handout(\.\w+)?\.md|{0}\.ipynb"
    r"|labs/{0}/(lab\.toml|public_tests/test_\w+\.py|locale/\w+\.po)"
)


@pytest.fixture(scope="module", params=LAB_IDS)
def kit(request):
    return make_kit(load_lab(LABS / request.param))


@pytest.fixture
def course(tmp_path):
    """The folder of a lab that was just begun."""
    return new_lab(tmp_path / "labs", "scales", "Scales")[0]


def reference_of(course):
    return reference_path(course.parent, course.name)


def change(path, old, new):
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def texts(kit):
    """(file, whether a student reads it as prose, text), a notebook cell by cell."""
    for name, content in kit.files.items():
        if name.endswith(".ipynb"):
            for cell in json.loads(content)["cells"]:
                yield name, cell["cell_type"] == "markdown", source(cell)
        else:
            yield name, name.startswith("handout"), content.decode()


def apart_from_prose(kit):
    return "\n".join(text for _, prose, text in texts(kit) if not prose)


def strings(folder):
    """Every string of a suite, also the fixed parts of f-strings and what is for staff only."""
    trees = [ast.parse(path.read_bytes()) for path in sorted(folder.glob("test_*.py"))]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return {" ".join(node.value.split()) for node in nodes if isinstance(node.value, str)}


# ---------------------------------------------------------------- what is in it


def test_a_kit_has_these_files_and_no_others(kit):
    """Starter, handouts, public checks, their translations, the public spec, pins, a README."""
    assert all(re.fullmatch(FILES.format(kit.lab), name) for name in kit.files)
    needed = {"README.md", "handout.md", "handout.zh.md", "requirements.txt", f"{kit.lab}.ipynb"}
    assert needed | {f"labs/{kit.lab}/lab.toml"} <= set(kit.files)
    assert f"\n    grader check {kit.lab}.ipynb\n" in kit.files["README.md"].decode()


def test_the_lab_in_a_kit_is_a_students_copy_with_the_same_public_checks(kit, tmp_path):
    """`grader check` finds there what it needs, and `grader grade` is refused."""
    write_folder(kit, tmp_path / kit.lab)
    whole, public = load_lab(LABS / kit.lab), load_lab(tmp_path / kit.lab / "labs" / kit.lab)
    assert public.is_kit
    assert [check.id for check in public.public_checks] == [check.id for check in whole.public_checks]
    same = ("id", "title", "title_zh", "data", "gpu", "limits", "contract", "keep", "logical_cpus")
    assert [getattr(public, name) for name in same] == [getattr(whole, name) for name in same]
    assert (public.thresholds, public.snapshots, public.starter_score) == ({}, (), 0)
    with pytest.raises(UsageError, match="kit already"):
        make_kit(public)


def test_a_starter_is_what_jupyter_itself_would_save(kit):
    """Valid nbformat 4.5 with a kernel and a language, and opening and saving it in JupyterLab changes no byte."""
    content = kit.files[f"{kit.lab}.ipynb"].decode()
    notebook = nbformat.reads(content, as_version=4)
    nbformat.validate(notebook)
    assert nbformat.writes(notebook) + "\n" == content
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata == {
        "grader": {"lab": kit.lab},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert all(not cell.metadata and not cell.get("outputs") for cell in notebook.cells)


def test_the_requirements_are_pins_without_hashes_and_without_a_package_called_grader():
    """A registry may hold a stranger's package of that name."""
    lines = requirements().splitlines()
    assert lines
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+( ; .+)?", line) for line in lines)
    names = [line.partition("==")[0] for line in lines]
    assert {"tensorflow", "keras", "numpy", "pandas", "ipykernel"} <= set(names)
    assert "grader" not in names


# ---------------------------------------------------------------- what is not in it


def test_no_kit_shows_anything_of_the_hidden_suite(kit):
    """No function, no sentence and nothing for staff: not in files, code or translations."""
    folder, shown = LABS / kit.lab, apart_from_prose(kit)
    files = "\n".join(text for name, prose, text in texts(kit) if not prose and not name.endswith(".ipynb"))
    joined = " ".join(re.sub(r'"\n"', "", files).split())
    contract = load_lab(folder).contract.values()
    public = " ".join((*strings(folder / "public_tests"), *(name.description for name in contract)))
    for text in strings(folder / "hidden_tests"):
        assert len(text) < LONG or text in public or text not in joined, text
    lab = load_lab(folder)
    mine = {check.function for check in lab.public_checks}
    for check in lab.checks:
        assert check.function in mine or not re.search(rf"\b{check.function}\b", shown)


def test_no_kit_names_hidden_checks_except_in_what_is_written_for_students(kit):
    """As a string of code, of the spec or of a catalogue; the handout's table of points names them on purpose."""
    lab = load_lab(LABS / kit.lab)
    public = strings(lab.folder / "public_tests") | set(lab.contract)
    code = "\n".join(text for name, prose, text in texts(kit) if not prose and name != f"{kit.lab}.ipynb")
    for check in lab.checks:
        assert check.id in public or f'"{check.id}"' not in code, check.id


def test_no_kit_tells_a_threshold(kit):
    """Neither the table nor a floor or a full mark, in the form that thresholds are written in."""
    lab = load_lab(LABS / kit.lab)
    everything = "\n".join(text for name, _, text in texts(kit) if name != "requirements.txt")
    assert "[thresholds" not in everything
    assert "starter_score" not in everything
    for number in {n for table in lab.thresholds.values() for t in table.values() for n in (t.floor, t.full)}:
        for shown in {f"{number:.2f}", f"{number:.3f}"} if 0 < number < 1 else set():
            if round(number, 2) == number or len(shown) == 5:
                assert not re.search(rf"(?<![\d.]){re.escape(shown)}(?!\d)", everything), number
    for comment in re.findall(r"#\s*(.+)", (lab.folder / "lab.toml").read_text("utf-8")):
        assert len(comment) < LONG or comment not in everything


def test_no_kit_holds_a_solution(kit):
    """No line between the markers, none of an alternative, no marker."""
    lab = load_lab(LABS / kit.lab)
    reference = read_reference(reference_path(LABS, kit.lab))
    whole = "\n".join(source(cell) for cell in reference["cells"])
    regions = re.findall(r"### BEGIN (?:SOLUTION|HIDDEN TESTS)\n(.*?)### END", whole, re.DOTALL)
    assert regions
    given = {line.strip() for line in re.sub(r"(?s)### BEGIN.*?### END \w+", "", whole).splitlines()}
    lines = {
        line.strip().lstrip("# ").strip() for name, prose, text in texts(kit) if not prose for line in text.splitlines()
    }
    for line in (line.strip() for region in regions for line in region.splitlines()):
        assert len(line) < LONG or line in given or line not in lines, line
        assert len(line) < 2 * LONG or line in given or line not in apart_from_prose(kit), line
    for name, other in read_alternatives(lab.folder).items():
        for line in (line.strip() for cell in other["cells"] for line in cell["source"].splitlines()):
            assert len(line) < 2 * LONG or line in given or line not in apart_from_prose(kit), (name, line)
    assert not any("### BEGIN" in text or "### END" in text for _, _, text in texts(kit))


def test_no_kit_tells_of_mutants(kit):
    """What mistakes a suite is proved against is the staff's."""
    everything = "\n".join(text for _, _, text in texts(kit))
    for mutant in read_mutants(LABS / kit.lab):
        assert mutant.description not in everything


def test_no_kit_translates_what_only_the_hidden_suite_says(kit):
    """The Chinese of a hidden sentence is a hidden sentence."""
    whole = LABS / kit.lab / "locale" / "zh.po"
    name = f"labs/{kit.lab}/locale/zh.po"
    assert (name in kit.files) == whole.is_file()
    if whole.is_file():
        assert "hidden_tests" not in kit.files[name].decode()
        entries = re.split(r"\n\n", whole.read_text("utf-8"))
        hidden = [entry for entry in entries if "hidden_tests" in entry and "public_tests" not in entry]
        assert hidden
        translations = [
            found[1] for entry in hidden if (found := re.search(r'^msgstr "(.{6,})"$', entry, re.MULTILINE))
        ]
        public = "\n".join(entry for entry in entries if "public_tests" in entry)
        assert not [text for text in translations if text in kit.files[name].decode() and text not in public]


@pytest.mark.parametrize(
    ("file", "line", "what"),
    [
        (
            "public_tests/test_scales_public.py",
            "# A column of equal numbers becomes zeros.",
            "sentence of the hidden suite",
        ),
        ("public_tests/test_scales_public.py", "# as test_a_column_of_equal_numbers asks", "hidden check 'constant'"),
        (
            "public_tests/test_scales_public.py",
            "# spread = x.std(axis=0) + 0 * x.mean()",
            "a line of the solution",
        ),
        ("public_tests/rows.txt", "return (x - x.mean(axis=0)) / np.where(spread > 1e-9, spread, 1)", "the solution"),
        ("public_tests/test_scales_public.py", '# of the check "all_of_it"', "the id of a hidden check"),
        ("public_tests/test_scales_public.py", "# from 0.875 on", "a threshold"),
        ("handout.md", "Subtracts the mean and does not divide.", "the mutant 'not_scaled'"),
        ("handout.zh.md", "### BEGIN SOLUTION", "a marker"),
    ],
)
def test_a_kit_that_would_show_something_hidden_is_not_made(course, file, line, what):
    """Whoever quotes the hidden suite in a public file is told where, before anybody reads it."""
    change(course / "hidden_tests" / "test_scales.py", '"scaled"', '"all_of_it"')
    change(course / "lab.toml", "[limits]", "[thresholds.lite.share]\nfloor = 0.1\nfull = 0.875\n[limits]")
    change(reference_of(course), "spread = x.std(axis=0)", "spread = x.std(axis=0) + 0 * x.mean()")
    make_kit(load_lab(course))
    with (course / file).open("a", encoding="utf-8") as stream:
        stream.write(f"\n{line}\n")
    with pytest.raises(LabError, match=what) as caught:
        make_kit(load_lab(course))
    assert Path(file).name in caught.value.where


def test_a_line_of_the_solution_is_found_in_a_starters_code_and_nowhere_else(course):
    """Handouts and the hints of a public suite may show code; a line that the starter shows anyway is no secret."""
    lab, notebook = load_lab(course), read_reference(reference_path(course.parent, "scales"))
    line = "return (x - x.mean(axis=0)) / np.where(spread > 1e-9, spread, 1)"
    cell = {"cell_type": "code", "metadata": {}, "source": f"def again(x, spread):\n    {line}"}
    files = {"scales.ipynb": json.dumps({"cells": [cell]}).encode(), "handout.md": line.encode()}
    notebook["cells"][2]["source"] = source(notebook["cells"][2]).replace(
        "    spread", "    # one standard deviation for each column\n    spread"
    )
    files["labs/scales/public_tests/test_scales_public.py"] = (
        b'hint="Say # one standard deviation for each column of them."\n    "# one standard deviation for each column"'
    )
    secrets = secrets_of(lab, notebook)
    assert leaks(Kit(lab="scales", files=files), secrets) == [("scales.ipynb", "a line of the solution")]
    notebook["cells"].append(cell)
    assert leaks(Kit(lab="scales", files=files), secrets_of(lab, notebook)) == []


# ---------------------------------------------------------------- what marks a solution


@pytest.mark.parametrize(
    "marker",
    [
        "### begin solution",
        "###BEGIN SOLUTION",
        "# BEGIN SOLUTION",
        "### BEGIN  SOLUTION",
        "#### BEGIN SOLUTION",
        "### BEGIN SOLUTION: the spread",
        "### BEGIN HIDDEN TEST",
        "### END HIDDEN_TESTS",
        "### BEGIN MARK SCHEME",
        "### BEGIN SOLUTION\r",
    ],
)
def test_what_only_looks_like_a_marker_is_an_error_with_its_cell(course, marker):
    """Taken for a comment, it would hand the solution to every student."""
    notebook = json.loads(reference_of(course).read_text("utf-8"))
    text = source(notebook["cells"][2])
    notebook["cells"][2]["source"] = text.replace("### BEGIN SOLUTION", marker).replace("### END SOLUTION", marker)
    reference_of(course).write_text(json.dumps(notebook), "utf-8")
    for make in (make_kit, make_starter):
        with pytest.raises(LabError, match=r"cell 3: .* looks like a marker and is none"):
            make(load_lab(course))


@pytest.mark.parametrize("kind", ["code", "markdown"])
def test_a_cell_that_nbgrader_calls_a_solution_is_replaced_whole(kind):
    """With its pictures; where it has regions, they say what the solution is."""
    cell = {"cell_type": kind, "metadata": {"nbgrader": {"solution": True}}, "source": "answer = 42"}
    if kind == "markdown":
        cell["attachments"] = {"answer.png": {"image/png": "AAAA"}}
    marked = {**cell, "source": "shown = 1\n### BEGIN SOLUTION\nanswer = 42\n### END SOLUTION"}
    whole, part = starter({"cells": [cell, marked]})["cells"]
    line = "# Write your solution here." if kind == "code" else "*Write your answer here.*"
    assert (whole["source"], part["source"]) == (line, f"shown = 1\n{line}")
    assert "attachments" not in whole


def test_what_nbgrader_calls_a_solution_is_searched_for(course):
    """The same line in another cell of code stops the release."""
    notebook = json.loads(reference_of(course).read_text("utf-8"))
    line = "answer = [number * number for number in range(42)]"
    marked = {"cell_type": "code", "metadata": {"nbgrader": {"solution": True}}, "source": line, "outputs": []}
    notebook["cells"].append(marked)
    reference_of(course).write_text(json.dumps(notebook), "utf-8")
    assert line.encode() not in make_starter(load_lab(course))
    (course / "public_tests" / "data.txt").write_text(line)
    with pytest.raises(LabError, match="a line of the solution"):
        make_kit(load_lab(course))


def test_a_reference_without_any_region_is_not_released(course):
    """Neither as a kit nor as a starter: it would be the solution."""
    for marker in ("BEGIN", "END"):
        change(reference_of(course), f"### {marker} SOLUTION", "# here")
    for make in (make_kit, make_starter):
        with pytest.raises(LabError, match="nothing is marked as a solution"):
            make(load_lab(course))


def code_cell(text):
    return {"cells": [{"cell_type": "code", "source": text}]}


def test_a_function_that_is_all_solution_still_makes_a_cell_that_is_python():
    """The regions that need no statement get none: what students are given there still runs."""
    region = "{0}### BEGIN SOLUTION\n{0}x = 1\n{0}### END SOLUTION"
    text = f"%matplotlib inline\n{region.format('')}\n\ndef f():\n{region.format('    ')}\n\ny = 2"
    (cell,) = starter(code_cell(text))["cells"]
    line = "# Write your solution here."
    made = ["%matplotlib inline", line, "", "def f():", f"    {line}", "    raise NotImplementedError", "", "y = 2"]
    assert cell["source"].splitlines() == made


def test_a_starter_that_is_no_python_is_not_released(course):
    """Half a statement between the markers leaves the other half."""
    change(
        reference_of(course),
        "import numpy as np",
        "### BEGIN SOLUTION\\nif True:\\n### END SOLUTION\\n    import numpy as np",
    )
    with pytest.raises(LabError, match="cell 2 of the starter is no Python"):
        make_starter(load_lab(course))


# ---------------------------------------------------------------- what handouts link to, and data


PIXEL = b"\x89PNG\r\n\x1a\n\xff\xfe"


def test_pictures_of_handouts_and_data_of_public_suites_are_in_the_kit(course):
    """Addresses elsewhere, anchors and code are no files; caches are nobody's data."""
    (course / "figures").mkdir()
    (course / "figures" / "a plot.png").write_bytes(PIXEL)
    (course / "public_tests" / "data").mkdir()
    (course / "public_tests" / "data" / "rows.bin").write_bytes(PIXEL)
    (course / "public_tests" / ".DS_Store").write_bytes(PIXEL)
    with (course / "handout.md").open("a") as file:
        file.write(
            "\n![plot](figures/a%20plot.png) [web](https://example.org) [top](#top) `rows[0](x)` [zh](handout.zh.md)\n"
        )
        file.write('\n```python\nrows[0](x)\n```\n<img src="figures/a plot.png">\n[starter](scales.ipynb)\n')
    kit = make_kit(load_lab(course))
    assert kit.files["figures/a plot.png"] == kit.files["labs/scales/public_tests/data/rows.bin"] == PIXEL
    assert not [name for name in kit.files if "DS_Store" in name]
    assert repository([kit])["labs/scales/figures/a plot.png"] == PIXEL


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("figures/none.png", "there is no such file"),
        ("hidden_tests/test_scales.py", "not in the kit"),
        ("figures/../mutants/not_scaled.toml", "not in the kit"),
        ("../../reference_solutions/scales.ipynb", "not in the kit"),
        ("/etc/passwd", "not in the kit"),
        ("linked.md", "no regular file"),
        ("large.bin", "has more than 8 MiB"),
    ],
)
def test_a_link_to_what_students_do_not_get_is_told_and_nothing_is_made(course, target, said):
    """A picture that is dropped in silence is missed in class."""
    (course / "linked.md").symlink_to(course / "hidden_tests" / "test_scales.py")
    (course / "large.bin").write_bytes(bytes(MOST_BYTES + 1))
    with (course / "handout.md").open("a") as file:
        file.write(f"\n[here]({target})\n")
    with pytest.raises(LabError, match=said):
        make_kit(load_lab(course))


def test_a_handout_in_another_encoding_is_named(course):
    (course / "handout.md").write_bytes("Für alle: 60 seconds, 2 GB".encode("latin-1"))
    with pytest.raises(LabError, match=r"handout\.md: is not UTF-8 text"):
        make_kit(load_lab(course))


def test_a_repositorys_readme_lists_each_lab_with_the_line_that_checks_it(course):
    other = new_lab(course.parent, "others", "Others")[0]
    files = repository(make_kit(load_lab(folder)) for folder in (course, other))
    text = files["README.md"].decode()
    for name, title in (("scales", "Scales"), ("others", "Others")):
        assert f"| {title} | `{name}.ipynb` | [labs/{name}/handout.md]" in text
        assert f"`grader check {name}.ipynb`" in text
        assert f"labs/{name}/handout.md" in files


# ---------------------------------------------------------------- how it is written


def test_two_releases_are_the_same_bytes_whatever_the_files_dates_are(course):
    """So that a student's copy can be compared with the course's."""
    first = make_kit(load_lab(course))
    for path in course.rglob("*"):
        path.touch()
    second = make_kit(load_lab(course))
    assert list(first.files) == sorted(first.files)
    assert first.zipped() == second.zipped()
    archive = zipfile.ZipFile(io.BytesIO(first.zipped()))
    assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}
    assert {name: archive.read(f"scales/{name}") for name in first.files} == first.files


def test_a_kit_is_written_over_only_when_asked_and_never_over_somebodys_work(course, tmp_path):
    """An older kit goes with --force; a file that is not a kit's stays, and stops it."""
    kit, folder = make_kit(load_lab(course)), tmp_path / "kit"
    write_folder(kit, folder)
    with pytest.raises(UsageError, match="exists already"):
        write_folder(kit, folder)
    (folder / "README.md").write_text("old")
    write_folder(kit, folder, force=True)
    assert (folder / "README.md").read_bytes() == kit.files["README.md"]
    (folder / "my notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"my notes\.txt"):
        write_folder(kit, folder, force=True)


def test_a_lab_without_public_checks_or_handout_makes_no_kit(course):
    (course / "handout.md").rename(course / "elsewhere.md")
    with pytest.raises(LabError, match="handout is missing"):
        make_kit(load_lab(course))
    (course / "public_tests" / "test_scales_public.py").unlink()
    with pytest.raises(LabError, match="no public checks"):
        make_kit(load_lab(course))


def test_a_spec_is_written_as_toml_that_says_the_same():
    table = {"a": 'x "y" \\ 中', "n": [[28, 28], [784]], "b": True, "f": 0.5, "t": {"u": {"v": 1}, "w": []}}
    assert tomllib.loads(as_toml(table)) == table


def test_a_starter_keeps_pictures_and_ids_and_drops_what_is_the_authors():
    """Attachments of prose stay; metadata, odd or double ids and marked prose do not."""
    picture = {"a.png": {"image/png": "AAAA"}}
    cells = [
        {
            "cell_type": "markdown",
            "id": "one",
            "metadata": {"nbgrader": {"solution": False, "grade": False}},
            "source": "# T",
            "attachments": picture,
        },
        {
            "cell_type": "markdown",
            "id": "one",
            "source": ["Why?\n", "### BEGIN SOLUTION\n", "It is.\n", "### END SOLUTION"],
        },
        {
            "cell_type": "code",
            "id": "no id at all!",
            "source": "x = 1",
            "outputs": [{"text": "1"}],
            "execution_count": 3,
        },
    ]
    made = starter({"cells": cells, "metadata": {"grader": {"lab": "a"}, "author": "me"}})
    nbformat.validate(nbformat.from_dict(made))
    assert [cell["id"] for cell in made["cells"]] == ["one", "cell-02", "cell-03"]
    assert made["cells"][0]["attachments"] == picture
    assert made["cells"][1]["source"] == "Why?\n*Write your answer here.*"
    assert b"nbgrader" not in notebook_bytes(made)
    assert "author" not in made["metadata"]
