"""A lab from its first minute to its kit, by the commands that an author types."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course whose one lab was just begun and verified; the cards are in kept/."""
    folder = tmp_path_factory.mktemp("course")
    assert grader(folder, "new", "scales", "--title", "Scales").returncode == 0
    done = grader(folder, "verify", "scales", "--jobs", "1", "--out", "kept", "--json")
    assert done.returncode == 0, done.stdout
    return folder


def grader(folder, *args, **environ):
    command = [sys.executable, "-m", "grader", *args]
    env = {**os.environ, **environ}
    return subprocess.run(command, cwd=folder, env=env, text=True, capture_output=True, timeout=250, check=False)


def said(done):
    return json.loads(done.stdout)


def test_a_new_lab_holds_and_each_of_its_checks_is_failed_by_a_mutant(course):
    """Proved by what `grader verify` kept: no error, and lint says that it was proved."""
    done = grader(course, "lint", "--from", "kept", "--json")
    assert done.returncode == 0
    assert said(done)["proved"] is True
    assert [finding["kind"] for finding in said(done)["labs"]["scales"]] == ["few-mutants"]


def test_a_check_that_no_mutant_fails_is_found_in_what_was_kept(course):
    """Without the one mutant that failed it the lab has an error: exit code 3, the check with its line."""
    mutant = course / "labs" / "scales" / "mutants" / "not_scaled.toml"
    text = mutant.read_text("utf-8")
    mutant.unlink()
    try:
        done = grader(course, "lint", "scales", "--from", "kept")
    finally:
        mutant.write_text(text, "utf-8")
    assert done.returncode == 3
    assert "test_scales.py:" in done.stdout
    assert "no mutant fails the check 'scaled'" in done.stdout
    assert "1 error, 1 warning" in done.stdout


def test_results_of_another_lab_than_there_is_now_are_refused(course):
    """A changed notebook or other points would make an old matrix say what is no longer so."""
    suite = course / "labs" / "scales" / "hidden_tests" / "test_scales.py"
    text = suite.read_text("utf-8")
    suite.write_text(text.replace("points=40", "points=35").replace("points=20", "points=30"), "utf-8")
    try:
        done = grader(course, "lint", "--from", "kept")
    finally:
        suite.write_text(text, "utf-8")
    assert done.returncode == 2
    assert (
        "another scales/reference than the lab has now (verify again: grader verify scales --out kept)" in done.stderr
    )
    (course / "nothing").mkdir(exist_ok=True)
    assert "holds no verified scales/reference" in grader(course, "lint", "--from", "nothing").stderr


def test_a_kit_is_released_as_a_folder_and_a_zip_and_never_over_another(course):
    """Twice the same bytes; the second time only with --force."""
    first = grader(course, "release", "scales", "--out", "kits", "--json")
    assert first.returncode == 0
    assert said(first)["written"] == ["kits/scales", "kits/scales.zip"]
    archive = course / "kits" / "scales.zip"
    before = archive.read_bytes()
    assert grader(course, "release", "scales", "--out", "kits").returncode == 2
    assert grader(course, "release", "scales", "--out", "kits", "--as", "zip", "--force").returncode == 0
    assert archive.read_bytes() == before
    assert sorted(said(first)["files"]) == sorted(
        path.relative_to(course / "kits").as_posix()
        for path in (course / "kits" / "scales").rglob("*")
        if path.is_file()
    )


def test_one_bad_file_holds_back_its_own_lab_only(tmp_path):
    """The other is released and examined; the exit code is the lab's, and the file is named."""
    for name in ("scales", "others"):
        assert grader(tmp_path, "new", name).returncode == 0
    (tmp_path / "labs" / "scales" / "handout.md").write_bytes(b"F\xfcr alle")
    done = grader(tmp_path, "release", "--out", "kits")
    assert done.returncode == 3
    assert "labs/scales/handout.md: is not UTF-8 text" in done.stderr
    assert done.stdout.splitlines()[-2].endswith(" files of others")
    assert sorted(path.name for path in (tmp_path / "kits").iterdir()) == ["others", "others.zip"]
    alone = grader(tmp_path, "release", "scales", "--out", "none")
    assert (alone.returncode, alone.stdout) == (3, "")
    findings = said(grader(tmp_path, "lint", "--json"))["labs"]
    assert [finding["kind"] for finding in findings["others"]] == ["few-mutants"]
    assert "is not UTF-8 text" in [finding["what"] for finding in findings["scales"]]


def test_out_without_a_name_is_refused_and_not_this_folder(course):
    """It is what an unset variable of a script gives."""
    before = sorted(course.iterdir())
    done = grader(course, "release", "--out", "", "--as", "folder")
    assert done.returncode == 2
    assert "--out names no folder" in done.stderr
    assert sorted(course.iterdir()) == before


def test_a_starter_that_would_be_the_solution_is_not_written(tmp_path):
    """`grader starter` refuses what `grader release` refuses."""
    assert grader(tmp_path, "new", "scales").returncode == 0
    reference = tmp_path / "reference_solutions" / "scales.ipynb"
    text = reference.read_text("utf-8")
    reference.write_text(text.replace("### BEGIN SOLUTION", "# BEGIN SOLUTION"), "utf-8")
    done = grader(tmp_path, "starter", "scales")
    assert done.returncode == 3
    assert "looks like a marker and is none" in done.stderr
    assert not (tmp_path / "scales.ipynb").exists()


def test_where_tensorflow_is_missing_nothing_is_proved_and_no_lab_is_blamed(course, tmp_path):
    """The problem is told once, and exit code 4 says that it is not the lab's."""
    venv.create(tmp_path / "bare")
    python = str(tmp_path / "bare" / "bin" / "python")
    done = grader(course, "verify", "scales", "--jobs", "1", GRADER_KERNEL_PYTHON=python)
    assert done.returncode == 4
    assert done.stdout.count("No module named") == 1
    assert "scales is not proved: 7 of 7 variants could not be run here" in done.stdout
    assert "no mutant fails" not in done.stdout
    done = grader(course, "lint", "scales", "--verify", "--jobs", "1", "--json", GRADER_KERNEL_PYTHON=python)
    assert done.returncode == 4
    assert said(done)["proved"] is False
    assert [finding["kind"] for finding in said(done)["labs"]["scales"]] == ["few-mutants"]


def test_a_begun_lab_is_not_begun_again(course):
    done = grader(course, "new", "scales")
    assert done.returncode == 2
    assert "exists already" in done.stderr
