"""Settings: four ranked sources, typed values, and an error with a suggestion for whatever is not one."""

from __future__ import annotations

import datetime as dt
import os
import re
import stat
from pathlib import Path

import pytest

from grader.errors import OursError, UsageError, plain, suggest
from grader.records import Limits
from grader.settings import OPTIONS, Settings, limits_for, load_settings, secret, state_folder


def course(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "course.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_setting_has_a_default():
    """Without any source, every field has a usable value."""
    settings = load_settings(None, {})
    assert (settings.language, settings.jobs, settings.min_level, settings.secret) == ("en", 0, 0, "")
    assert settings.data is None


def test_a_higher_source_wins(tmp_path):
    """The command line beats the environment, which beats course.toml, which beats the default."""
    path = course(tmp_path, "[run]\njobs = 2\n")
    assert load_settings(path, {}).jobs == 2
    assert load_settings(path, {"GRADER_JOBS": "3"}).jobs == 3
    assert load_settings(path, {"GRADER_JOBS": "3"}, {"jobs": 4}).jobs == 4


def test_an_option_that_was_not_given_changes_nothing(tmp_path):
    """None on the command line means not given."""
    assert load_settings(course(tmp_path, "[run]\njobs = 2\n"), {}, {"jobs": None}).jobs == 2


def test_every_key_of_course_toml_is_read(tmp_path):
    """A course.toml that sets everything ends up in the settings, typed."""
    path = course(
        tmp_path,
        '[course]\nname = "DL 101"\nlanguage = "zh"\nsecret = "s3cret"\n'
        '[data]\nfolder = "sets"\nmirror = "https://mirror.example/keras/"\n'
        '[sandbox]\nmin_level = "L2"\n[kernel]\npython = "/opt/py/bin/python"\n'
        '[run]\njobs = 8\nlabs = "our_labs"\n[limits]\nwall_s = 60\nmemory_mb = 2048\n'
        "[labs.iris]\ndue = 2030-01-31T23:59:00+01:00\n",
    )
    settings = load_settings(path, {})
    assert settings == Settings(
        course_name="DL 101",
        language="zh",
        secret="s3cret",
        data=tmp_path / "sets",
        mirror="https://mirror.example/keras",
        min_level=2,
        kernel_python=Path("/opt/py/bin/python"),
        jobs=8,
        labs=tmp_path / "our_labs",
        limits={"wall_s": 60.0, "memory_mb": 2048},
        due={"iris": dt.datetime(2030, 1, 31, 23, 59, tzinfo=dt.timezone(dt.timedelta(hours=1)))},
    )


def test_limits_of_the_course_lie_over_those_of_the_lab(tmp_path):
    """A limit set by the course replaces the lab's, the others stay."""
    settings = load_settings(course(tmp_path, "[limits]\nwall_s = 60\n"), {"GRADER_LIMITS_MEMORY_MB": "512"})
    assert limits_for(settings, Limits(wall_s=120, disk_mb=7)) == Limits(wall_s=60, memory_mb=512, disk_mb=7)


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("[corse]\n", "did you mean 'course'?"),
        ('[course]\nlangauge = "en"\n', "did you mean 'language'?"),
        ("[limits]\nwall = 3\n", "did you mean 'wall_s'?"),
        ("[labs.iris]\ndeu = 2030-01-31\n", "did you mean 'due'?"),
    ],
)
def test_an_unknown_key_is_an_error_that_suggests(tmp_path, text, suggestion):
    """A misspelt key is refused, with the nearest known one and the file."""
    path = course(tmp_path, text)
    with pytest.raises(UsageError, match=re.escape(suggestion)) as caught:
        load_settings(path, {})
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "[run]\njobs = -1\n",
        "[run]\njobs = true\n",
        "[run]\njobs = 1.5\n",
        '[sandbox]\nmin_level = "L9"\n',
        '[course]\nlanguage = "fr"\n',
        "[course]\nname = 3\n",
        '[data]\nmirror = "ftp://x"\n',
        "[limits]\nwall_s = 0\n",
        "[limits]\nmemory_mb = 1.5\n",
        "[limits]\nwall_s = nan\n",
        '[labs.iris]\ndue = "soon"\n',
        "course = 3\n",
        "[labs]\niris = 3\n",
        "not toml",
    ],
)
def test_a_value_of_the_wrong_kind_is_an_error_naming_the_file(tmp_path, text):
    """A value that cannot be is refused in one line that names course.toml."""
    with pytest.raises(UsageError) as caught:
        load_settings(course(tmp_path, text), {})
    assert "course.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_course_file_that_is_not_there_is_an_error(tmp_path):
    """A named course.toml that cannot be read is a usage error, not a traceback."""
    with pytest.raises(UsageError, match="cannot be read"):
        load_settings(tmp_path / "nowhere.toml", {})


def test_a_misspelt_variable_is_an_error_and_a_foreign_one_is_not():
    """GRADER_JOB is a mistake; GRADER_HOME_OF_SOMETHING_ELSE is nobody's business."""
    with pytest.raises(UsageError, match="GRADER_JOBS"):
        load_settings(None, {"GRADER_JOB": "3"})
    assert load_settings(None, {"GRADER_HOME_OF_SOMETHING_ELSE": "3"}).jobs == 0


def test_a_due_date_without_a_clock_means_the_end_of_that_day(tmp_path):
    """due = 2030-01-31 leaves the student the whole day, and always carries an offset."""
    due = load_settings(course(tmp_path, "[labs.iris]\ndue = 2030-01-31\n"), {}).due["iris"]
    assert (due.day, due.hour, due.minute) == (31, 23, 59)
    assert due.tzinfo is not None


def test_the_course_secret_is_never_shown_in_an_error(tmp_path):
    """A secret of the wrong kind is refused without being printed."""
    with pytest.raises(UsageError) as caught:
        load_settings(course(tmp_path, "[course]\nsecret = 123456\n"), {})
    assert "123456" not in str(caught.value)


def test_the_secret_is_made_once_and_kept_private(tmp_path):
    """Without a course secret, one is made for this user, readable by nobody else, and stays the same."""
    environ = {"XDG_STATE_HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    first = secret(Settings(), environ)
    assert len(first) == 64
    assert secret(Settings(), environ) == first
    kept = state_folder(environ) / "secret"
    assert kept.read_text() == first
    assert [path.name for path in kept.parent.iterdir()] == ["secret"]
    if os.name == "posix":
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_the_course_secret_comes_before_the_kept_one(tmp_path):
    """A course that sets a secret gets it, and nothing is written."""
    assert secret(Settings(secret="ours"), {"XDG_STATE_HOME": str(tmp_path)}) == "ours"
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_secret_is_our_error_not_an_empty_seed(tmp_path):
    """An emptied secret file is reported: an empty seed would be everybody's."""
    environ = {"XDG_STATE_HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    secret(Settings(), environ)
    (state_folder(environ) / "secret").write_text("")
    with pytest.raises(OursError, match="damaged"):
        secret(Settings(), environ)


def test_options_name_real_fields_once():
    """Each option stands for one field of Settings and has help."""
    names = [option.field for option in OPTIONS]
    assert len(set(names)) == len(names)
    assert set(names) | {"limits", "due"} == set(Settings.__struct_fields__)
    assert all(option.help for option in OPTIONS)


def test_suggest_offers_the_nearest_word_or_all():
    """A near word is suggested whatever its case; for a far one all known words are listed."""
    assert suggest("Mnits", ["iris", "mnist"]) == "did you mean 'mnist'?"
    assert suggest("zzz", ["iris", "mnist"]) == "known: iris, mnist"


def test_plain_text_cannot_forge_a_line():
    """Control, format and bidirectional characters are taken out, and long text is cut."""
    assert plain("a\x1b[31m\nb\u202ec") == "a [31m b c"
    assert len(plain("x" * 500)) == 200
