"""Catalogues: every sentence of ours is in each of them, and a card says it in its language."""

from __future__ import annotations

import json
import re
import time

import pytest

from grader import settings
from grader.authoring import messages
from grader.labs import load_lab
from grader.records import CellError, Ending, Evidence, Outcome
from grader.reports import phrases, render_card
from grader.reports.language import words
from grader.reports.phrases import Phrases, translated
from grader.submissions import notebooks
from grader.submissions.archives import TooLargeError
from tests.browser import samples
from tools.messages import ROOT, catalogues

CATALOGUES = {str(path.relative_to(ROOT)): (path, wanted) for path, wanted in catalogues()}


# ---------------------------------------------------------------- the catalogues


@pytest.mark.parametrize("name", sorted(CATALOGUES))
def test_every_sentence_is_translated_and_no_translation_is_left_over(name):
    """`make messages` brings a catalogue up to date; a lab with a translated handout has one."""
    assert messages.wrong(*CATALOGUES[name]) == []


@pytest.mark.parametrize("name", sorted(CATALOGUES))
def test_translations_fill_in_the_same_values(name):
    """A translation may change the order of values, and loses or invents none."""
    path, _ = CATALOGUES[name]

    def gaps(message):
        strings = [message] if isinstance(message, str) else message
        return set().union(*(re.findall(r"%\((\w+)\)s|\{(\d+)\}", string) for string in strings))

    for entry in messages.read(path):
        if entry.id:
            assert gaps(entry.string) == gaps(entry.id), entry.id


@pytest.mark.parametrize("name", sorted(CATALOGUES))
def test_code_in_backticks_stays_code(name):
    """Backticks come in pairs in a translation too: an odd one would be shown as it is."""
    for entry in messages.read(CATALOGUES[name][0]):
        if entry.id and isinstance(entry.id, str):
            assert str(entry.string).count("`") == entry.id.count("`"), entry.id


@pytest.mark.parametrize("name", sorted(CATALOGUES))
def test_no_two_gaps_touch(name):
    """Where one ends and the next begins could not be told, so such a sentence would be translated wrongly."""
    touching = [key for _, key in CATALOGUES[name][1] if isinstance(key, str) and re.search(r"\}\{", key)]
    assert touching == []


def test_what_a_suite_says_is_read_from_its_source():
    """Text with gaps, descriptions of parts and defaults are found; code, staff's text and comparisons are not."""
    source = '''
def test_it(student, what="the default answer"):
    """A docstring is read elsewhere."""
    parts.add("two calls differ", one != two, hint="Build it anew.")
    fail(f"{rows} of {len(all)} rows are wrong", expected="model.fit(x, y)", staff="the right one is 7")
    if "no such name" in str(error):
        flag("odd", "look at this one")
    current().staff.append(f"busy for {seconds} s")
'''
    assert list(messages.sentences(source)) == [
        "the default answer",
        "two calls differ",
        "Build it anew.",
        "{0} of {1} rows are wrong",
    ]


def test_a_sentence_added_to_the_source_enters_the_catalogue_and_translations_stay(tmp_path):
    path = tmp_path / "locale" / "zh.po"
    messages.update(path, {(None, "one sentence"): [("a.py", 0)]})
    path.write_text(
        path.read_text().replace('msgid "one sentence"\nmsgstr ""', 'msgid "one sentence"\nmsgstr "一句话"')
    )
    wanted = {(None, "one sentence"): [("a.py", 0)], (None, "another sentence"): [("a.py", 0)]}
    messages.update(path, wanted)
    assert messages.wrong(path, wanted) == ["not translated: 'another sentence'"]
    assert "一句话" in path.read_text()
    assert messages.wrong(path, {}) == ["left over: 'one sentence'", "left over: 'another sentence'"]


# ---------------------------------------------------------------- finding a sentence


SAID = Phrases(
    {
        "all parts hold": "都满足",
        "not yet: {0}": "尚未：{0}",
        "the answer": "结果",
        "{0} has shape {1}": "{0}的形状是 {1}",
        "{0} of {1} rows are wrong": "{1} 行中有 {0} 行不对",
        "{0} of 10 rows are wrong": "十行中有 {0} 行不对",
        "{0}; {1}": "{0}；{1}",
        "{0} ({1})": "{0}（{1}）",
    }.items()
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("all parts hold", "都满足"),
        ("3 of 20 rows are wrong", "20 行中有 3 行不对"),
        ("3 of 10 rows are wrong", "十行中有 3 行不对"),
        ("the answer has shape (3, 4)", "结果的形状是 (3, 4)"),
        ("not yet: all parts hold; the answer", "尚未：都满足；结果"),
        ("the answer (all parts hold)", "结果（都满足）"),
        ("all parts hold\nthe answer", "都满足\n结果"),
        ("what nobody translated", "what nobody translated"),
        ("unknown (words)", "unknown (words)"),
        ("", ""),
        ("{0} has shape {1}", "{0}的形状是 {1}"),
    ],
)
def test_a_sentence_is_found_by_its_fixed_parts(text, said):
    """Gaps are taken over or translated themselves, and the sentence that says most itself is meant."""
    assert SAID.say(text) == said


def test_sentences_are_taken_apart_where_both_halves_are_known():
    """A colon within a sentence, or a bracket within one, is not where two were joined."""
    said = Phrases(
        {
            "cut off: it ends": "被截断",
            "it ends": "它结束",
            "try again": "再试",
            "not text (byte {0})": "不是文本（第 {0} 字节）",
            "an end": "结束",
            "{0} in cell {1}": "单元格 {1} 出现 {0}",
            "{0}: {1}": "{0}：{1}",
            "{0} ({1})": "{0}（{1}）",
        }.items()
    )
    assert said.say("cut off: it ends (try again)") == "被截断（再试）"
    assert said.say("not text (byte 5) (try again)") == "不是文本（第 5 字节）（再试）"
    assert said.say("an end: Error in cell 3") == "结束：单元格 3 出现 Error"
    assert said.say("who knows: it ends (try again)") == "who knows：它结束（再试）"


def refusals():
    """Everything that intake says of bytes that are no notebook of the lab."""
    cell = {"cell_type": "code", "source": "x"}
    long = {"cell_type": "code", "source": "x" * (notebooks.MAX_SOURCE + 1)}
    given = [b"", *(first + b" " for first, _ in notebooks.DISGUISES), b"\xff\xfex\0", b"{\xe9}", b'{"a":' * 5000]
    given += [b'{"cells": [', b"{}"]
    given += [json.dumps({"cells": cells}).encode() for cells in ([], [cell] * (notebooks.MAX_CELLS + 1), [long])]
    given += [json.dumps({"cells": [cell], "nbformat": version}).encode() for version in (3, 7)]
    for content in given:
        with pytest.raises(notebooks.BadNotebookError) as bad:
            notebooks.parse_notebook(content)
        yield bad.value.what, bad.value.fix
    for content in (json.dumps({"cells": [cell]}).encode(), b"# a\n\n" * (notebooks.MAX_CELLS + 1)):
        with pytest.raises(notebooks.BadNotebookError) as bad:
            notebooks.parse_script(content)
        yield bad.value.what, bad.value.fix
    yield "is the notebook of the lab 'mnist', handed in as 'mnist'", "hand in the mnist notebook"
    large = TooLargeError("a.ipynb", b"")
    yield large.what, large.fix


NAMES = {
    "JSON",
    "UTF",
    "Jupyter",
    "PDF",
    "zip",
    "Office",
    "RAR",
    "gzip",
    "PNG",
    "JPEG",
    "HDF",
    "Git",
    "LFS",
    "ipynb",
    "py",
}
NAMES |= {"MB", "IPython", "nbformat", "mnist", "Edit", "Clear", "All", "Outputs"}


def test_no_reason_why_a_file_cannot_be_read_is_half_in_english():
    """What is wrong and what to do, joined as intake joins them; only names stay as they are."""
    said = phrases("zh")
    for what, fix in refusals():
        chinese = said.say(f"{what} ({fix})")
        left = set(re.findall("[A-Za-z]{2,}", chinese)) - NAMES
        assert not left, chinese
        assert re.search("[\u4e00-\u9fff].*（.*[\u4e00-\u9fff]", chinese), chinese


def test_a_text_made_to_be_slow_is_not():
    """Matching never goes back, so no text a student writes can stall a worker."""
    text = "rows has shape ; of (not yet: " * 130 + "x"
    start = time.perf_counter()
    for language in ("zh",):
        phrases(language, ROOT / "labs" / "mnist").say(text)
    assert time.perf_counter() - start < 1.0


def test_english_needs_no_catalogue():
    assert phrases("en").say("all parts hold") == "all parts hold"


# ---------------------------------------------------------------- cards


def test_a_chinese_card_says_what_the_suite_says_in_chinese():
    """Description, found, expected and hint of a real lab, and the grader's own sentences around them."""
    lab = load_lab(ROOT / "labs" / "mnist")
    spec = next(check for check in lab.checks if check.id == "accuracy")
    failed = samples.check(
        "accuracy",
        spec.description,
        40,
        0,
        Outcome.FAILED,
        found="`model.predict(…)` raised ValueError: bad shape at line 3: model(x)",
        expected="no exception",
        hint=spec.hint,
    )
    verdict = samples.verdict(
        checks=(failed,),
        notes=("Your `net` was graded as `model`.",),
        ending=Ending.TIMEOUT,
        ending_detail="in code cell 3",
        cell_errors=(CellError(cell=1, kind="ValueError", message="all parts hold"),),
    )
    html = render_card(
        verdict,
        samples.Exhibits(),
        edition="student",
        course_name="",
        language="zh",
        phrases=phrases("zh", lab.folder),
    )
    for said in (
        "你的模型能识别它从未见过的数字。",
        "引发了 ValueError：bad shape，位于第 3 行：model(x)",
        "没有异常",
        "把像素缩放到 0-1",
        "被当作",
        "位于第 3 个代码单元格",
        "all parts hold",  # the student's own message
    ):
        assert said in html, said


def test_no_sentence_of_a_lab_stays_english_on_a_chinese_card():
    """Every check of every lab with a Chinese handout, as one that failed."""
    for folder in sorted(ROOT.glob("labs/*/handout.zh.md")):
        lab = load_lab(folder.parent)
        said = phrases("zh", lab.folder)
        for spec in (*lab.checks, *lab.public_checks):
            assert re.search("[\u4e00-\u9fff]", said.say(spec.description)), (lab.id, spec.description)


def test_the_verdict_itself_is_left_as_it_is():
    """Translating is for reading: scores, evidence and what the student wrote are the same in every language."""
    verdict = samples.crashed()
    other = translated(verdict, phrases("zh", ROOT / "labs" / "mnist"))
    assert [(c.id, c.score, c.outcome, c.evidence) for c in other.checks] == [
        (c.id, c.score, c.outcome, c.evidence) for c in verdict.checks
    ]
    assert other.cell_errors[0].message == verdict.cell_errors[0].message
    assert Evidence.VERIFIED in {check.evidence for check in other.checks}


# ---------------------------------------------------------------- another language


MADE_UP = """
msgid ""
msgstr ""
"Language: tlh\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"
"Content-Type: text/plain; charset=utf-8\\n"

msgid "Report card"
msgstr "chavmoH nav"

msgctxt "sentence"
msgid "Your `{0}` was graded as `{1}`."
msgstr "`{1}`: `{0}`!"
"""


def test_a_language_is_one_file_that_is_dropped_in(tmp_path, monkeypatch):
    """Settings accept it, pages speak it, what it lacks stays English, and nothing is compiled or registered."""
    (tmp_path / "tlh.po").write_text(MADE_UP)
    monkeypatch.setattr(settings, "LOCALE", tmp_path)
    assert settings.load_settings(None, {}, {"language": "tlh"}).language == "tlh"
    assert words("tlh").gettext("Report card") == "chavmoH nav"
    verdict = samples.verdict(notes=("Your `net` was graded as `model`.",))
    html = render_card(
        verdict,
        samples.Exhibits(),
        edition="student",
        course_name="",
        language="tlh",
        phrases=phrases("tlh"),
    )
    assert '<html lang="tlh">' in html
    assert "chavmoH nav" in html
    assert "<code>model</code>: <code>net</code>!" in html
    assert "How it was run" in html
