"""Intake: every kind of bad input gets one line about that file, and the rest of the batch goes on."""

from __future__ import annotations

import hashlib
import json
import os
import string
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader.errors import UsageError
from grader.records import Ending
from grader.submissions import archives, collect, notebooks, slug
from grader.submissions.intake import shown_name

LABS = ("iris", "mnist", "checkpoints")
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX links and pipes")


def notebook(*sources: str, **metadata) -> bytes:
    cells = [
        {"cell_type": "code", "source": source, "outputs": [], "metadata": {}, "execution_count": None}
        for source in sources or ("x = 1",)
    ]
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}).encode()


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def places(intake) -> list[tuple[str, str]]:
    return [(item.student, item.lab) for item in intake.submissions]


# -- where submissions come from


def test_one_notebook_belongs_to_the_student_its_folder_names(tmp_path):
    """<student>/<lab>.ipynb says both; the bytes are hashed as they came."""
    content = notebook("a = 1", "b = 2")
    (submission,) = collect([put(tmp_path / "ann" / "iris.ipynb", content)], LABS).submissions
    assert (submission.student, submission.lab, submission.problem) == ("ann", "iris", None)
    assert (submission.sha256, submission.size) == (hashlib.sha256(content).hexdigest(), len(content))
    assert [cell.source for cell in submission.cells] == ["a = 1", "b = 2"]


def test_with_a_lab_given_the_file_names_the_student(tmp_path):
    """--lab iris ann.ipynb is Ann's; --lab iris ann/iris.ipynb too."""
    first = put(tmp_path / "homework" / "ann.ipynb", notebook())
    second = put(tmp_path / "bob" / "iris.ipynb", notebook())
    assert places(collect([first, second], LABS, "iris")) == [("ann", "iris"), ("bob", "iris")]


def test_a_class_folder_holds_students_and_their_labs(tmp_path):
    """Every <student>/<lab>.ipynb is found, and nothing hidden, no checkpoint and no data file."""
    for name in ("ann/iris.ipynb", "ann/mnist.ipynb", "bob/iris.ipynb"):
        put(tmp_path / name, notebook())
    put(tmp_path / "ann" / ".ipynb_checkpoints" / "iris-checkpoint.ipynb", notebook("old"))
    put(tmp_path / "ann" / "._iris.ipynb", b"junk")
    put(tmp_path / "bob" / "data.csv", b"1,2")
    put(tmp_path / "README.md", b"hello")
    intake = collect([tmp_path], LABS)
    assert places(intake) == [("ann", "iris"), ("bob", "iris"), ("ann", "mnist")]
    assert intake.messages() == ()


def test_a_flat_folder_is_one_student(tmp_path):
    """Notebooks directly in the folder belong to the student it names."""
    put(tmp_path / "ann" / "iris.ipynb", notebook())
    assert places(collect([tmp_path / "ann"], LABS)) == [("ann", "iris")]


def test_a_lab_filter_keeps_other_labs_out_without_a_word(tmp_path):
    """--lab iris on a class folder takes each student's iris and is silent about the rest."""
    for name in ("ann/iris.ipynb", "ann/mnist.ipynb", "bob/homework.ipynb"):
        put(tmp_path / name, notebook())
    intake = collect([tmp_path], LABS, "iris")
    assert places(intake) == [("ann", "iris"), ("bob", "iris")]
    assert intake.messages() == ()


def test_a_zip_is_read_without_being_unpacked(tmp_path):
    """A zip of a class folder works, wrapped or not, and writes nothing."""
    plain = zipped(tmp_path / "a.zip", {"ann/iris.ipynb": notebook(), "__MACOSX/ann/._iris.ipynb": b"x"})
    wrapped = zipped(tmp_path / "b.zip", {"class/bob/iris.ipynb": notebook(), "class/cy/iris.ipynb": notebook()})
    assert places(collect([plain, wrapped], LABS)) == [("ann", "iris"), ("bob", "iris"), ("cy", "iris")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip"]


def test_a_zip_made_on_a_chinese_windows_keeps_its_names(tmp_path):
    """Names in GB 18030 without the UTF-8 flag are read as what they are."""
    raw = "张三".encode("gb18030")
    stand_in = "A" * len(raw)
    path = zipped(tmp_path / "a.zip", {f"{stand_in}/iris.ipynb": notebook()})
    path.write_bytes(path.read_bytes().replace(stand_in.encode(), raw))
    assert places(collect([path], LABS)) == [("张三", "iris")]


def test_a_script_in_percent_format_becomes_cells(tmp_path):
    """A .py file with # %% markers is a submission like any other; magics are magics again."""
    source = b"# %% [markdown]\n# # Title\n\n# %%\nx = 1\n\n# %%\n# %matplotlib inline\ny = 2\n"
    (submission,) = collect([put(tmp_path / "ann" / "iris.py", source)], LABS).submissions
    assert [(cell.kind, cell.source) for cell in submission.cells] == [
        ("markdown", "# Title"),
        ("code", "x = 1"),
        ("code", "%matplotlib inline\ny = 2"),
    ]


def test_the_header_of_a_script_is_not_parsed(tmp_path):
    """jupytext's YAML header is dropped unread, even where it is no YAML."""
    source = b"# ---\n# jupyter: [{: &a *a\n# ---\n\n# %%\nx = 1\n"
    (submission,) = collect([put(tmp_path / "ann" / "iris.py", source)], LABS).submissions
    assert [cell.source for cell in submission.cells] == ["x = 1"]


@pytest.mark.parametrize("source", [b"# %%\nx\n" * 6_000, b"x\n\n" * 6_000])
def test_a_script_of_nothing_but_breaks_is_refused_at_once(tmp_path, source):
    """It would take jupytext minutes: it is counted before it is parsed."""
    (submission,) = collect([put(tmp_path / "ann" / "iris.py", source)], LABS).submissions
    assert submission.problem is Ending.NOT_A_NOTEBOOK
    assert "6,000" in submission.problem_text


def test_helper_modules_beside_a_notebook_are_nobodys_error(tmp_path):
    """utils.py is not a submission and not worth a message."""
    put(tmp_path / "ann" / "iris.ipynb", notebook())
    put(tmp_path / "ann" / "utils.py", b"x = 1")
    for lab in (None, "iris"):
        intake = collect([tmp_path], LABS, lab)
        assert places(intake) == [("ann", "iris")]
        assert intake.messages() == ()


# -- bad input: the batch goes on


BAD = {
    "truncated": (notebook()[:60], Ending.NOT_A_NOTEBOOK, "cut off"),
    "old": (json.dumps({"worksheets": [], "nbformat": 3}).encode(), Ending.NOT_A_NOTEBOOK, "IPython 2 or older"),
    "old_cells": (json.dumps({"cells": [], "nbformat": 3}).encode(), Ending.NOT_A_NOTEBOOK, "IPython 2 or older"),
    "future": (json.dumps({"cells": [], "nbformat": 5}).encode(), Ending.NOT_A_NOTEBOOK, "format 5"),
    "pdf": (b"%PDF-1.7\n...", Ending.NOT_A_NOTEBOOK, "is a PDF"),
    "html": (b"<!doctype html><p>", Ending.NOT_A_NOTEBOOK, "a web page"),
    "word": (b"PK\x03\x04junk", Ending.NOT_A_NOTEBOOK, "a zip or an Office document"),
    "empty": (b"", Ending.EMPTY, "is an empty file"),
    "blank": (b"\xef\xbb\xbf \n\n", Ending.EMPTY, "is an empty file"),
    "no_code": (notebook("  \n"), Ending.EMPTY, "has no code"),
    "list": (b"[1, 2]", Ending.NOT_A_NOTEBOOK, "JSON but not a notebook"),
    "no_cells": (b'{"a": 1}', Ending.NOT_A_NOTEBOOK, "it has no cells"),
    "bad_cell": (b'{"cells": [{"cell_type": "code", "source": 4}]}', Ending.NOT_A_NOTEBOOK, "not a notebook"),
    "text": (b"x = 1\n", Ending.NOT_A_NOTEBOOK, "is not JSON"),
    "latin": (notebook("x = '\u00e9'").replace(b"\\u00e9", b"\xe9"), Ending.NOT_A_NOTEBOOK, "is not UTF-8"),
    "utf16": (notebook().decode().encode("utf-16"), Ending.NOT_A_NOTEBOOK, "UTF-16"),
    "nested": (notebook().replace(b"[]", b"[" * 100_000 + b"]" * 100_000), Ending.NOT_A_NOTEBOOK, "too deeply"),
    "nested_nan": (
        notebook().replace(b"[]", b"[NaN," + b"[" * 100_000 + b"]" * 100_001),
        Ending.NOT_A_NOTEBOOK,
        "",
    ),
    "wrong_lab": (notebook(grader={"lab": "mnist"}), Ending.WRONG_LAB, "the lab 'mnist', handed in as 'iris'"),
    "many_cells": (notebook(*["x"] * 5_001), Ending.NOT_A_NOTEBOOK, "5,001 cells"),
    "long": (notebook("x" * (4 * 2**20 + 1)), Ending.NOT_A_NOTEBOOK, "4 MB of source"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_a_submission_with_its_problem(tmp_path, name):
    """It gets a card with the ending and one line for staff; the neighbour's notebook is untouched."""
    content, ending, said = BAD[name]
    put(tmp_path / "bad" / "iris.ipynb", content)
    put(tmp_path / "good" / "iris.ipynb", notebook())
    intake = collect([tmp_path], LABS)
    bad, good = intake.submissions
    assert (bad.student, bad.problem) == ("bad", ending)
    assert said in bad.problem_text
    assert bad.problem_text.endswith(")")
    assert str(tmp_path) not in bad.problem_text
    (message,) = intake.messages()
    assert os.path.join("bad", "iris.ipynb") in message
    assert "\n" not in message
    assert (good.student, good.problem) == ("good", None)


def test_a_huge_notebook_is_refused_without_being_read_whole(tmp_path):
    """200 MB end in a line that says what to do; not more than the cap is ever in memory."""
    path = put(tmp_path / "ann" / "iris.ipynb", b"{")
    with path.open("r+b") as stream:
        stream.truncate(200 * 2**20)
    (submission,) = collect([tmp_path], LABS).submissions
    assert submission.problem is Ending.NOT_A_NOTEBOOK
    assert "larger than 50 MB (clear the outputs" in submission.problem_text
    assert submission.size == archives.MAX_FILE


def test_an_unknown_lab_is_an_error_that_suggests(tmp_path):
    """irs.ipynb belongs to no lab: the line names the file and the nearest lab."""
    put(tmp_path / "ann" / "irs.ipynb", notebook())
    put(tmp_path / "bob" / "iris.ipynb", notebook())
    intake = collect([tmp_path], LABS)
    assert places(intake) == [("bob", "iris")]
    (message,) = intake.messages()
    assert "irs.ipynb: unknown lab 'irs'" in message
    assert "did you mean 'iris'?" in message


def test_two_notebooks_for_one_lab_are_an_error_naming_both(tmp_path):
    """Which one counts is not for the grader to guess; the student's other lab is graded."""
    put(tmp_path / "ann" / "iris.ipynb", notebook("1"))
    put(tmp_path / "ann" / "iris (1).ipynb", notebook("2"))
    put(tmp_path / "ann" / "mnist.ipynb", notebook())
    intake = collect([tmp_path], LABS)
    assert places(intake) == [("ann", "mnist")]
    (message,) = intake.messages()
    assert "iris.ipynb" in message
    assert "iris (1).ipynb" in message
    assert "neither was graded" in message


@pytest.mark.parametrize("name", ["iris (1).ipynb", "iris-Copy1.ipynb", "IRIS.ipynb", "iris - Copy.ipynb"])
def test_a_lab_is_recognised_under_the_name_of_a_copy(tmp_path, name):
    """What browsers and Jupyter make of iris.ipynb is still iris."""
    put(tmp_path / "ann" / name, notebook())
    assert places(collect([tmp_path], LABS)) == [("ann", "iris")]


def test_the_same_bytes_twice_are_one_submission(tmp_path):
    """A file given twice, or an identical copy, is no conflict."""
    path = put(tmp_path / "ann" / "iris.ipynb", notebook())
    put(tmp_path / "ann" / "iris-Copy1.ipynb", notebook())
    intake = collect([tmp_path, path], LABS)
    assert places(intake) == [("ann", "iris")]
    assert intake.messages() == ()


def test_a_student_without_a_notebook_is_reported(tmp_path):
    """A folder with a Word file only is named, a notebook too deep as well."""
    put(tmp_path / "ann" / "iris.docx", b"PK")
    put(tmp_path / "bob" / "old" / "iris.ipynb", notebook())
    ann, bob = sorted(collect([tmp_path], LABS).messages(), key=lambda line: "too deep" in line)
    assert "iris.docx: is not a notebook" in ann
    assert "lies too deep" in bob


def test_an_empty_folder_is_reported(tmp_path):
    """Nothing found is said, not passed over."""
    assert "holds no notebook" in collect([tmp_path], LABS).messages()[0]


def test_a_path_that_does_not_exist_is_a_usage_error(tmp_path):
    """A mistyped path stops the command: nothing has run yet."""
    with pytest.raises(UsageError, match="does not exist"):
        collect([tmp_path / "nowhere"], LABS)
    with pytest.raises(UsageError, match="did you mean 'iris'"):
        collect([tmp_path], LABS, "irsi")


@posix
def test_links_and_pipes_are_never_followed(tmp_path):
    """A link to somebody's file and a pipe that never ends are errors of that file."""
    put(tmp_path / "secret.txt", notebook("secret"))
    (tmp_path / "class" / "ann").mkdir(parents=True)
    (tmp_path / "class" / "ann" / "iris.ipynb").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(tmp_path / "class" / "ann" / "mnist.ipynb")
    (tmp_path / "class" / "eve").symlink_to(tmp_path)
    put(tmp_path / "class" / "bob" / "iris.ipynb", notebook())
    intake = collect([tmp_path / "class"], LABS)
    assert places(intake) == [("bob", "iris")]
    assert sum("is a link" in line for line in intake.messages()) == 2
    assert sum("is not a regular file" in line for line in intake.messages()) == 1


@pytest.mark.parametrize("name", ["../ann/iris.ipynb", "/etc/iris.ipynb", "..\\ann\\iris.ipynb", "C:/ann/iris.ipynb"])
def test_a_path_that_leaves_the_zip_is_refused(tmp_path, name):
    """The member is named and left out; its neighbours are read."""
    intake = collect([zipped(tmp_path / "a.zip", {name: notebook(), "bob/iris.ipynb": notebook()})], LABS)
    assert places(intake) == [("bob", "iris")]
    assert "leaves the zip" in intake.messages()[0]


def test_a_zip_bomb_is_refused_before_it_inflates(tmp_path):
    """Fifty megabytes of zeros in fifty kilobytes are no notebook."""
    intake = collect([zipped(tmp_path / "a.zip", {"ann/iris.ipynb": b"0" * 50 * 2**20})], LABS)
    assert places(intake) == []
    assert "zip bomb" in intake.messages()[0]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_inflate_without_limit_are_refused(tmp_path, method):
    """Only ordinary zips are read."""
    intake = collect([zipped(tmp_path / "a.zip", {"ann/iris.ipynb": notebook()}, method)], LABS)
    assert "unusual method" in intake.messages()[0]


def test_a_link_in_a_zip_is_refused(tmp_path):
    """A member that is a symbolic link is not read as a notebook."""
    member = zipfile.ZipInfo("ann/iris.ipynb")
    member.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(member, notebook())
    assert "is a link" in collect([tmp_path / "a.zip"], LABS).messages()[0]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a zip", b"%PDF"])
def test_a_broken_zip_costs_only_itself(tmp_path, content):
    """It is named in one line and the other paths are read."""
    good = put(tmp_path / "ann" / "iris.ipynb", notebook())
    intake = collect([put(tmp_path / "a.zip", content), good], LABS)
    assert places(intake) == [("ann", "iris")]
    assert "not a zip that can be read" in intake.messages()[0]


def test_a_damaged_member_costs_only_itself(tmp_path):
    """A wrong checksum is that student's error."""
    content = notebook("x = 'damaged here'")
    path = zipped(tmp_path / "a.zip", {"ann/iris.ipynb": content, "bob/iris.ipynb": notebook()}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"damaged", b"DAMAGED"))
    intake = collect([path], LABS)
    assert places(intake) == [("bob", "iris")]
    assert "cannot be unpacked" in intake.messages()[0]


# -- what is kept of a notebook


def test_outputs_tags_and_kernelspec_are_dropped(tmp_path):
    """Nothing a student stored beside the source survives intake."""
    document = json.loads(notebook("x = 1", kernelspec={"name": "mine", "language": "R"}))
    document["cells"][0]["outputs"] = [{"output_type": "stream", "text": "accuracy: 0.99 FORGED"}]
    document["cells"][0]["metadata"] = {"tags": ["skip-execution"]}
    document["cells"].append({"cell_type": "raw", "source": "RAW"})
    (submission,) = collect([put(tmp_path / "a" / "iris.ipynb", json.dumps(document).encode())], LABS).submissions
    assert [(cell.kind, cell.source) for cell in submission.cells] == [("code", "x = 1")]
    assert not any(word in repr(submission) for word in ("FORGED", "skip-execution", "mine", "RAW"))


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + notebook(),
        notebook().replace(b'"outputs": []', b'"outputs": [{"data": NaN}]'),
        notebook().replace(b'"x = 1"', b'["x =", " 1"]'),
        notebook().replace(b'"nbformat": 4', b'"minor": 4'),
        notebook(grader={"lab": "iris"}),
        notebook(grader=[1, {"lab": 3}]),
    ],
)
def test_what_real_notebooks_do_is_accepted(tmp_path, content):
    """A BOM, NaN in stored outputs, sources as lists, missing or odd metadata: all still notebooks."""
    (submission,) = collect([put(tmp_path / "ann" / "iris.ipynb", content)], LABS).submissions
    assert submission.problem is None
    assert submission.cells[0].source == "x = 1"


def test_half_a_character_does_not_break_what_comes_later(tmp_path):
    """A lone surrogate in the JSON becomes a question mark: every source can be written as UTF-8."""
    content = notebook("x = 'Q'").replace(b"Q", b"\\ud800")
    (submission,) = collect([put(tmp_path / "ann" / "iris.ipynb", content)], LABS).submissions
    for cell in submission.cells:
        cell.source.encode("utf-8")


def test_a_chinese_notebook_is_recognised(tmp_path):
    """The language of the prose decides the language of the card."""
    for name, prose in (("zh", "# 这是我的第一个神经网络模型，训练和评估"), ("en", "# My first network, 模型")):
        put(tmp_path / name / "iris.ipynb", notebook(prose + "\nx = 1"))
    assert [(item.student, item.language) for item in collect([tmp_path], LABS).submissions] == [
        ("en", "en"),
        ("zh", "zh"),
    ]


def verdict(parse, content: bytes):
    try:
        return parse(content).cells, None
    except notebooks.BadNotebookError as bad:
        return (), bad


@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_no_bytes_raise_anything_but_a_verdict_on_them(content):
    """Whatever the bytes, parsing ends in cells or in BadNotebookError."""
    for parse in (notebooks.parse_notebook, notebooks.parse_script):
        cells, bad = verdict(parse, content)
        assert cells or (bad and bad.what and "\n" not in bad.what)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["cells", "metadata", "grader", "lab", "source", "cell_type"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.fixed_dictionaries({"cells": json_values, "metadata": json_values, "nbformat": json_values}))
def test_no_json_raises_anything_but_a_verdict_on_it(document):
    """The same for JSON of a notebook's outline, NaN and all."""
    cells, bad = verdict(notebooks.parse_notebook, json.dumps(document).encode())
    assert cells or (bad and bad.fix)


# -- names


@pytest.mark.parametrize(
    "other",
    ["student-01\u200b", "\tstudent-01", "student-01 ", "student\u202e-01", "\u00a0student-01", "\ud800student-01"],
)
def test_a_name_with_what_nobody_sees_is_not_another_students(other):
    """Tables and the gradebook know people by name: one who is written as another must not stand in for them."""
    assert shown_name("student-01") == "student-01"
    assert shown_name(other).startswith("student-01 (x") or shown_name(other).startswith("student -01 (x")
    assert shown_name(other) != shown_name(f"{other}\u200b")


def test_names_that_are_cut_short_stay_different():
    """And a name is the same however the system that sent it writes its accents."""
    first, second = ("a" * 200 + end for end in "bc")
    assert shown_name(first) != shown_name(second)
    assert len(shown_name(first)) <= 120
    assert shown_name("Rene\u0301") == shown_name("Ren\u00e9") == "Ren\u00e9"
    assert shown_name("").startswith("unnamed (")


@given(st.text(min_size=0, max_size=80))
def test_a_slug_is_a_safe_folder_name(student):
    """Never empty, hidden, a path, or more than a file name may be."""
    name = slug(student)
    assert name
    assert not name.startswith((".", "-"))
    assert not set(name) & set('/\\:*?"<>|\0 \n')
    assert all(char.isalnum() or char in "._-" for char in name) or not name.isascii()
    assert len(name.encode()) <= 255
    assert name == slug(student)


@given(st.text(alphabet=string.ascii_letters + " /.-_x0", max_size=12), st.text(alphabet=" /.-_ab", max_size=12))
def test_different_students_never_share_a_folder(first, second):
    """Two names give two slugs, however much had to be replaced."""
    if first != second:
        assert slug(first) != slug(second)


@pytest.mark.parametrize("student", ["ann", "li-20231234", "s.mith_2", "张三", "Zoë"])
def test_an_ordinary_name_stays_as_it_is(student):
    """Ids and names that are safe are not touched."""
    assert slug(student) == student


@pytest.mark.parametrize(
    "student", ["", ".", "..", ".hidden", "a/b", "a\\b", "CON", "nul.txt", "a b", "a\nb", "x" * 300]
)
def test_an_odd_name_is_marked_by_its_hash(student):
    """A name that had to be changed ends in a piece of its hash."""
    assert notebooks.re.search(r"-x[0-9a-f]{8}$", slug(student))


def test_nobody_can_take_a_folder_by_bearing_its_name():
    """A student called like another's slug gets a folder of their own."""
    assert slug(slug("a b")) != slug("a b")


@posix
def test_names_that_differ_in_case_get_folders_that_differ_in_more(tmp_path):
    """Ann and ann would share a folder on Windows and macOS."""
    path = zipped(tmp_path / "a.zip", {"Ann/iris.ipynb": notebook("1"), "ann/iris.ipynb": notebook("2")})
    slugs = [item.slug.casefold() for item in collect([path], LABS).submissions]
    assert len(set(slugs)) == 2


def test_an_odd_name_cannot_forge_a_line(tmp_path):
    """Control characters in a member's name do not reach the terminal."""
    path = zipped(tmp_path / "a.zip", {"an\x1b[2Jn\n/irs.ipynb": notebook()})
    (message,) = collect([path], LABS).messages()
    assert message.isprintable()
