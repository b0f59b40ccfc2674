"""Report cards keep their promises: nothing leaks, nothing runs, nothing is lost, in both languages."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import struct
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

import grader.reports
from grader import exhibits
from grader.checks.marks import CheckFailed
from grader.driver import notebook
from grader.records import CellError, Curve, Ending, Exhibits, Level, Outcome
from grader.reports import (
    ClassRow,
    Grade,
    StudentRun,
    charts,
    class_row,
    pictures,
    render_card,
    render_index,
    render_student,
    text,
)
from grader.reports.language import words
from grader.reports.page import TEMPLATES
from grader.reports.phrases import phrases, translated
from grader.reports.summary import after_error, summarize
from grader.selfcheck.show import as_html, as_text
from tests.browser import samples

PACKAGE = Path(grader.reports.__file__).parent
LANGUAGES = ("en", "zh")
SAMPLES = {
    "excellent": (samples.excellent, samples.exhibits),
    "partial": (samples.partial, samples.exhibits),
    "crashed": (samples.crashed, Exhibits),
    "timed out": (samples.timed_out, Exhibits),
    "empty": (samples.empty, Exhibits),
    "ours": (samples.ours, Exhibits),
    "hostile": (samples.hostile, samples.hostile_exhibits),
}


def card(verdict, exhibits=None, *, edition="student", language="en", **more):
    return render_card(
        verdict, exhibits or Exhibits(), edition=edition, course_name="Deep Learning", language=language, **more
    )


class Page(HTMLParser):
    """What a browser would find: elements, attributes, text and the bodies of style and script."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text, self.bodies, self._raw = [], [], "", {}, None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self._raw = tag if tag in {"style", "script"} else None

    def handle_endtag(self, tag):
        self._raw = None

    def handle_data(self, data):
        if self._raw:
            self.bodies[self._raw] = self.bodies.get(self._raw, "") + data
        else:
            self.text += data


# ---------------------------------------------------------------- what a student sees


def test_a_card_says_the_score_each_check_and_what_to_do_next():
    page = Page(card(samples.partial(), samples.exhibits())).text
    for said in (
        "52.5",
        "22.5",
        "Expected",
        "Found",
        "Try next",
        "91.2 % of 5,000 right",
        "Blocked by",
        "not your fault",
    ):
        assert said in page
    assert "verified" in page
    assert "Computed by the grader itself" in page
    assert "lite" in page
    assert "L1" in page


def test_a_card_shows_where_a_notebook_stopped_and_the_line_to_write():
    page = Page(card(samples.crashed())).text
    assert "cell 5, line 2" in page
    assert "model.fit(x_train, y_train, nb_epoch=5, batch_size=32)" in page
    assert "model.fit(x_train, y_train, epochs=5, batch_size=32)" in page
    assert "TypeError: fit() got an unexpected" in page


def test_a_card_shows_curves_confusion_layers_and_wrong_predictions():
    page = Page(card(samples.excellent(), samples.exhibits()))
    assert "val_loss" in page.text
    assert "Confusion matrix" in page.text
    assert "101,770" in page.text
    assert page.tags.count("img") == 8
    assert page.tags.count("figure") == 2 + 1 + 1, "two pairs of curves, one calibration, one measured figure"


def test_nothing_is_said_of_the_data_of_a_lab_that_has_none():
    """Neither which copy it was nor that a part was kept back; the overview has a dash there."""
    partial = samples.partial()
    without = msgspec.structs.replace(partial, data="none")
    assert "small copy that comes with the grader" in Page(card(partial)).text
    assert "small copy that comes with the grader" not in Page(card(without)).text
    for verdict, shown in ((partial, "lite"), (without, "–")):
        page = Page(render_index([class_row(verdict, "s")], course_name="", language="en"))
        assert ("data-value", shown) in page.attributes


def test_a_run_without_a_sandbox_is_called_advisory():
    assert "advisory" in Page(card(samples.timed_out())).text
    assert "advisory" not in Page(card(samples.partial())).text


def test_checks_that_need_work_come_before_those_that_passed():
    html = card(samples.partial())
    order = re.findall(r'<article class="check (\w+)"', html)
    assert order == ["partial", "failed", "partial", "errored", "skipped", "passed", "passed"]


def test_a_check_that_cannot_be_assessed_takes_no_room_in_the_score_bar():
    html = card(samples.excellent())
    bar = html[html.index('class="bar whole"') :].partition("</svg>")[0]
    assert bar.count('<rect class="track"') == 6
    assert re.findall(r'<article class="check (\w+)"', html)[-1] == "skipped"
    assert "does not count" in html


def test_the_student_edition_holds_nothing_that_is_for_staff():
    html = card(samples.partial(), samples.exhibits(), executed_cells=samples.cells())
    for secret in (
        "Wilson",
        "floor 0.85",
        "ValueError",
        "high entropy",
        "large literal",
        "error of the suite",
        "tensorflow as tf",
    ):
        assert secret not in html
    hidden = [pictures.data_uri(wrong.png) for wrong in samples.exhibits().wrong if not wrong.public]
    assert hidden
    assert not any(uri in html for uri in hidden)


def test_the_student_edition_draws_a_figure_and_its_interval_but_no_threshold():
    html = card(samples.partial(), samples.exhibits())
    said = Page(html).text
    assert "result 91.2 %" in said
    assert "chance alone moves it between 90.4 % and 92 %" in said
    for secret in ("all points from", "points from", "zone", "96.5"):
        assert secret not in html.replace(Page(html).bodies["style"], "")


def test_the_staff_edition_draws_where_credit_begins_and_where_it_is_full():
    html = card(samples.partial(), edition="staff")
    assert "points from 85.5 %" in Page(html).text
    assert "all points from 96.5 %" in Page(html).text
    assert html.count('class="zone ') == 2


def test_the_result_names_the_checks_with_most_to_gain():
    page = card(samples.partial())
    costs = page[page.index('class="costs"') :].partition("</ul>")[0]
    assert re.findall(r'href="#check-(\w+)"', costs) == ["accuracy", "saved", "probabilities"]
    assert re.findall(r">([\d.]+) points<", costs) == ["17.5", "15", "5"]
    assert 'class="costs"' not in card(samples.excellent())


def test_a_grade_after_policy_and_comments_stand_below_the_result():
    grade = Grade(
        value=42.0, most=100.0, why=("2 days late: −10",), comments=("Come to the *office* hour.\n<b>Friday</b>",)
    )
    page = Page(card(samples.partial(), grade=grade))
    assert "Grade 42 / 100" in " ".join(page.text.split())
    assert "2 days late: −10" in page.text
    assert "<b>Friday</b>" in page.text
    assert "b" not in page.tags


def test_the_staff_edition_shows_everything():
    html = card(samples.partial(), samples.exhibits(), edition="staff", executed_cells=samples.cells())
    for said in (
        "Wilson",
        "ValueError",
        "high entropy",
        "large literal",
        "error of the suite",
        "tensorflow as tf",
        "do not share",
    ):
        assert said in html
    assert all(pictures.data_uri(wrong.png) in html for wrong in samples.exhibits().wrong)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("ending", Ending)
def test_every_ending_has_a_card_that_says_what_happened_and_what_to_do(ending, language):
    summary = summarize(samples.verdict(ending=ending, score=0.0), words(language))
    assert summary.lead
    assert summary.next
    assert summary.next in Page(card(samples.verdict(ending=ending, score=0.0), language=language)).text


def test_the_next_step_is_the_check_that_blocks_others_or_else_the_one_that_costs_most():
    partial = samples.partial()
    assert summarize(partial, words("en")).target == "check-saved"
    unblocked = tuple(check for check in partial.checks if check.outcome is not Outcome.SKIPPED)
    assert summarize(msgspec.structs.replace(partial, checks=unblocked), words("en")).target == "check-accuracy"


def test_a_model_that_was_never_trained_is_trained_before_anything_else_whatever_the_checks_are_worth():
    failed = {"found": "x", "evidence": samples.OBSERVED}
    accuracy = samples.check("accuracy", "Reads digits.", 40, 0, Outcome.FAILED, hint="Scale the pixels.")
    trained = samples.check("trained", "It was trained.", 10, 0, Outcome.FAILED, hint="Call fit.", **failed)
    blocked = samples.check("shifts", "Reads moved digits.", 10, 0, Outcome.SKIPPED, blocked_by="accuracy")
    verdict = samples.verdict(score=0.0, checks=(accuracy, blocked, trained))
    assert summarize(verdict, words("en")).next == "Call fit."
    partly = msgspec.structs.replace(trained, score=4.0)
    verdict = msgspec.structs.replace(verdict, checks=(accuracy, blocked, partly))
    assert summarize(verdict, words("en")).next == "Scale the pixels."


def after_a_crash(*checks):
    """A notebook whose third cell failed."""
    error = CellError(cell=3, kind="ValueError", message="m", line=4)
    return samples.verdict(score=0.0, ending=Ending.CELL_ERROR, cell_errors=(error,), checks=checks)


def hints(verdict):
    return [check.hint for check in after_error(verdict, words("en")).checks]


def test_after_a_failed_cell_no_check_accuses_the_student_of_what_the_error_prevented():
    """Observed checks that earned nothing send to the cell, and then so do those of the model that this left."""
    first = "First correct cell 3, which stopped the notebook there."
    failed = Outcome.FAILED
    loss = samples.check("loss", "d", 10, 0, failed, hint="Call compile.", required=samples.OBSERVED)
    accuracy = samples.check("accuracy", "d", 40, 0, failed, hint="Scale the pixels.")
    partly = samples.check("rows", "d", 10, 5, failed, hint="Use softmax.", required=samples.OBSERVED)
    assert hints(after_a_crash(loss, accuracy, partly)) == [first, first, "Use softmax."]
    assert hints(after_a_crash(accuracy, partly)) == [f"{first}\nScale the pixels.", "Use softmax."]
    fine = samples.verdict(checks=(loss, accuracy))
    assert hints(fine) == ["Call compile.", "Scale the pixels."]
    page = Page(card(after_a_crash(loss, accuracy))).text
    assert "Call compile." not in page
    assert "Scale the pixels." not in page
    assert class_row(after_a_crash(loss, accuracy), "s").advice == ()


def test_a_self_check_in_the_terminal_sends_to_the_failed_cell_as_the_card_does():
    loss = samples.check("loss", "d", 10, 0, Outcome.FAILED, hint="Call compile.", required=samples.OBSERVED)
    for shown in (as_text(after_a_crash(loss), ()), as_html(after_a_crash(loss), ())):
        assert "First correct cell 3, which stopped the notebook there." in shown
        assert "Call compile." not in shown


@pytest.mark.parametrize("example", [True, False])
def test_a_line_that_is_not_the_students_is_shown_as_an_example(example):
    crashed = samples.crashed()
    (error,) = crashed.cell_errors
    advice = msgspec.structs.replace(error.advice, example=example)
    verdict = msgspec.structs.replace(crashed, cell_errors=(msgspec.structs.replace(error, advice=advice),))
    assert ("For example" in Page(card(verdict)).text) is example
    assert ("For example" in as_text(verdict, ())) is example


def test_a_student_sees_the_frames_of_their_own_cells_and_the_staff_all():
    crashed = samples.crashed()
    own = "Cell In[5], line 2\n----> 2 model.fit()\n"
    keras = "File /opt/keras/trainer.py:7, in fit(self)\n----> 7 raise\n"
    end = "TypeError: no such argument"
    traceback = f"-----\nTypeError  Traceback (most recent call last)\n{own}\n{keras}\n{own}\n{end}"
    error = msgspec.structs.replace(crashed.cell_errors[0], traceback=traceback)
    verdict = msgspec.structs.replace(crashed, cell_errors=(error,))
    short = text.own_frames(traceback)
    assert short.splitlines()[1].endswith("(most recent call last)")
    assert short.count("----> 2 model.fit()") == 2
    assert short.endswith(end)
    assert "trainer.py" not in short
    assert "trainer.py" not in card(verdict)
    assert "trainer.py" in card(verdict, edition="staff")
    syntax = "  Cell In[3], line 1\n    x = (\n        ^\nSyntaxError: '(' was never closed\n"
    assert text.own_frames(syntax) == syntax.strip("\n")


def test_no_traceback_holds_a_frame_of_the_graders_and_a_long_one_keeps_its_end():
    hook = "\x1b[36mFile \x1b[39m/island of mine/grader/probe/hooks.py:182, in hooked(self)\n--> 182 return around()\n"
    frames = ["TypeError  Traceback (most recent call last)", "Cell In[4], line 1\n----> 1 model.fit()\n", hook]
    kept = notebook._without_hooks([*frames, "TypeError: no such argument"])
    assert "hooks.py" not in kept
    assert "around()" not in kept
    assert "----> 1 model.fit()" in kept
    long = notebook._without_hooks([*frames, *(["File /x.py:1, in f(x)\n" + "a" * 400] * 300), "TypeError: the end"])
    assert len(long) <= notebook.TEXT_CAP
    assert long.endswith("TypeError: the end")


UNREADABLE = {
    Ending.NOT_A_NOTEBOOK: "ends in the middle: the JSON is cut off (hand it in again, the upload was incomplete)",
    Ending.EMPTY: "is an empty file (save the notebook again and hand it in)",
    Ending.WRONG_LAB: "is the notebook of the lab 'iris', handed in as 'mnist' (hand in the mnist notebook)",
    Ending.TOO_LARGE: "the notebook has 352 kB of code, this lab allows 64: load data from files",
}


def unreadable(ending):
    said = UNREADABLE[ending]
    failed = [samples.check(f"c{i}", f"d{i}", 10, 0, Outcome.FAILED, found=said, rationale=said) for i in range(8)]
    nothing = samples.Environment(grader="0.1.0", python="", platform="")
    more = {"checks": tuple(failed), "environment": nothing, "timings": {}, "artifacts": ()}
    return samples.verdict(score=0.0, ending=ending, ending_detail=said, level=Level.L0, **more)


@pytest.mark.parametrize("edition", ["student", "staff"])
@pytest.mark.parametrize("ending", UNREADABLE)
def test_the_card_of_a_file_that_was_not_run_says_once_what_is_wrong_and_nothing_of_a_run(ending, edition):
    page = Page(card(unreadable(ending), edition=edition)).text
    what = UNREADABLE[ending].partition(" (")[0]
    assert page.count(what[1:]) == 1
    assert "None of the 8 checks could be tried" in page
    for nonsense in ("Restart", "verified", "observed", "Sandbox", "Python", "advisory", "Points still to gain"):
        assert nonsense not in page


@pytest.mark.parametrize(
    ("ending", "step"),
    [
        (Ending.NOT_A_NOTEBOOK, "Hand it in again, the upload was incomplete."),
        (Ending.EMPTY, "Save the notebook again and hand it in."),
        (Ending.WRONG_LAB, "Hand in the mnist notebook."),
        (Ending.TOO_LARGE, "Load data from the lab's files instead of pasting it into cells, and hand in again."),
    ],
)
def test_the_next_step_for_such_a_file_is_what_intake_says_to_do(ending, step):
    assert summarize(unreadable(ending), words("en")).next == step
    chinese = translated(unreadable(ending), phrases("zh"))
    assert not re.search("[a-z]{4}", summarize(chinese, words("zh")).next.replace("mnist", ""))


def test_after_an_error_the_next_step_is_where_it_is_and_its_advice():
    crashed = summarize(samples.crashed(), words("en"))
    assert crashed.next == "Cell 5, line 2: The argument nb_epoch is called epochs since Keras 2."
    plain = samples.verdict(ending=Ending.CELL_ERROR, cell_errors=(CellError(cell=2, kind="KeyError", message="'x'"),))
    assert "Restart kernel" in summarize(plain, words("en")).next


def test_an_error_of_ours_is_never_told_as_a_result():
    page = Page(card(samples.ours())).text
    assert "/ 0" not in page
    assert "could not be graded" in page
    assert "not your fault" in page


def test_names_in_backticks_are_set_as_code():
    assert "<code>model</code>" in card(samples.excellent())
    html = card(samples.verdict(notes=("an odd ` stays", "`<b>`")))
    assert "an odd ` stays" in html
    assert "<code>&lt;b&gt;</code>" in html


# ---------------------------------------------------------------- nothing from a submission is trusted


@pytest.mark.parametrize("edition", ["student", "staff"])
def test_hostile_text_becomes_no_element_no_handler_and_no_address(edition):
    page = Page(card(samples.hostile(), samples.hostile_exhibits(), edition=edition))
    assert "script" not in page.tags
    assert "evil.example" in page.text
    for name, value in page.attributes:
        assert not name.startswith("on")
        assert name != "style"
        if name == "src":
            assert value.startswith("data:image/png;base64,")
        if name == "href":
            assert value.startswith("#")


def test_unseen_characters_are_spelt_out_everywhere():
    for html in (
        card(samples.hostile(), samples.hostile_exhibits(), edition="staff"),
        render_index([row(student=samples.HOSTILE)], course_name=samples.HOSTILE, language="en"),
    ):
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b-\u200f\x00-\x08\x0b-\x1f\x7f]", html)
        assert "⟨U+202E⟩" in html


def test_ten_thousand_characters_are_clipped_and_the_rest_is_counted():
    html = card(samples.hostile(), samples.hostile_exhibits(), edition="staff")
    assert len(html) < 400_000
    assert "(+" in html


def test_no_run_of_combining_marks_climbs_over_other_lines():
    assert len(text.visible("e" + "\u0301" * 100)) == 5
    assert text.visible("e\u0301") == "e\u0301"


def test_ordinary_writing_in_any_script_is_left_alone():
    for said in ("model.fit(x)\n\tpass", "训练一个模型。", "Grüße", "مرحبا", "שלום", "❤️", "नमस्ते"):
        assert text.visible(said) == said


@given(st.text(st.characters(exclude_categories=()), max_size=200))
def test_any_text_at_all_can_be_written_as_utf8_and_stays_text(anything):
    verdict = samples.verdict(student=anything, notes=(anything,), lab_title=anything)
    html = card(verdict)
    html.encode("utf-8")
    assert Page(html).tags == Page(card(samples.verdict(notes=("x",)))).tags


@pytest.mark.parametrize("name", SAMPLES)
def test_the_policy_allows_only_the_style_sheet_by_its_hash_and_pictures_inside_the_page(name):
    verdict, exhibits = SAMPLES[name]
    page = Page(card(verdict(), exhibits()))
    (policy,) = [value for attribute, value in page.attributes if attribute == "content" and "default-src" in value]
    assert policy.startswith("default-src 'none'; ")
    assert f"style-src '{digest(page.bodies['style'])}'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy


def digest(content):
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def test_templates_never_switch_escaping_off():
    for template in TEMPLATES.glob("*.html"):
        source = template.read_text(encoding="utf-8")
        assert "safe" not in source.replace("safely", "")
        assert "autoescape" not in source


def test_cards_need_neither_jupyter_nor_tensorflow():
    code = (
        "import sys, grader.reports\n"
        "kept_out = {'tensorflow', 'keras', 'nbformat', 'nbclient', 'jupyter_client', 'ipykernel', 'IPython'}\n"
        "found = kept_out & set(sys.modules)\n"
        "sys.exit(repr(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_same_verdict_makes_the_same_bytes():
    assert card(samples.partial(), samples.exhibits()) == card(samples.partial(), samples.exhibits())


# ---------------------------------------------------------------- pictures


def png(size=(28, 28), mode="L", **save):
    written = io.BytesIO()
    Image.new(mode, size).save(written, "PNG", **save)
    return written.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(width, height):
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>" * 3,
        b"GIF89a" + b"\0" * 100,
        header(60_000, 60_000) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b""),
        png(size=(pictures.MAX_SIDE + 1, 4)),
        header(0, 5) + chunk(b"IEND", b""),
        samples.picture(1)[:200],
        png() + b"x" * pictures.MAX_BYTES,
        header(28, 28) + chunk(b"IDAT", b"not zlib at all") + chunk(b"IEND", b""),
    ],
    ids=[
        "nothing",
        "svg",
        "gif",
        "60000 pixels wide",
        "just too wide",
        "no width",
        "truncated",
        "too many bytes",
        "damaged",
    ],
)
def test_a_picture_that_is_no_small_sound_png_is_left_out(bad):
    assert pictures.data_uri(bad) is None


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_is_drawn_again(mode):
    assert pictures.data_uri(png(mode=mode)).startswith("data:image/png;base64,")


def test_what_a_picture_carries_beside_its_pixels_is_dropped():
    note = PngImagePlugin.PngInfo()
    note.add_text("Comment", "<script>stolen</script>")
    uri = pictures.data_uri(png(pnginfo=note) + b"trailing")
    clean = base64.b64decode(uri.partition(",")[2])
    assert b"script" not in clean
    assert b"trailing" not in clean
    assert b"tEXt" not in clean


# ---------------------------------------------------------------- charts


def of_models(*names, epochs=12):
    """The exhibits of a lab that compares models."""
    shown = samples.exhibits()

    def named(things):
        return tuple(msgspec.structs.replace(one, name=f"{name}: {one.name}") for name in names for one in things)

    curves = tuple(msgspec.structs.replace(curve, values=curve.values[:epochs]) for curve in shown.curves)
    return msgspec.structs.replace(shown, curves=named(curves), layers=named(shown.layers), wrong=())


def test_each_of_several_models_has_its_curves_and_layers_under_its_name():
    """As many charts as one model may have, so that the card stays within its size."""
    names = [f"model_{i}" for i in range(5)]
    html = card(samples.excellent(), of_models(*names))
    assert [html.count(f"<code>{name}</code>") for name in names] == [3, 2, 2, 2, 2], "predictions are the first's"
    found = charts.trainings(of_models(*names).curves)
    assert [training.model for training in found] == names
    assert [[panel.name for panel in training.drawn] for training in found] == [["loss"]] * 5
    last = charts.trainings(of_models(*names).curves[::-1])
    assert [[panel.name for panel in training.drawn] for training in last] == [["loss"]] * 5
    assert [len(one.drawn) for one in charts.trainings(of_models("a", "b").curves)] == [2, 2]
    assert len(html.encode()) < 100_000


class Kept:
    """A model as exhibits ask it."""

    def __init__(self, *fits):
        self.fits = fits

    def training(self):
        if not self.fits:
            raise CheckFailed("it is missing")
        return {"fits": [{"logs": logs} for logs in self.fits]}


def test_the_curves_of_several_models_are_their_last_fits_and_a_missing_model_has_none():
    """A metric that a student names like a model is no model."""
    found = exhibits._curves_of(
        [("small", Kept({"loss": [9.0]}, {"loss": [2.0, 1.0]})), ("gone", Kept()), ("big", Kept({"x: y": [1.0]}))]
    )
    assert [(curve.name, curve.values) for curve in found] == [("small: loss", (2.0, 1.0)), ("big: x:y", (1.0,))]
    assert [training.model for training in charts.trainings(found)] == ["small", "big"]


def test_a_training_of_one_epoch_is_told_in_a_sentence():
    page = Page(card(samples.excellent(), of_models("a", epochs=1)))
    assert "Trained for one epoch, which makes no curve: loss 0.64, val_loss 0.69" in " ".join(page.text.split())
    assert ("class", "charts") not in page.attributes


def test_what_the_card_counts_agrees_with_its_number():
    for count, said in ((1, "1 thread"), (2, "2 threads")):
        page = Page(card(samples.verdict(limits=samples.Limits(threads=count)))).text
        assert re.search(rf"\b{said}\b", page)
    lost = samples.check("a", "d", 1, 0, Outcome.FAILED)
    assert "1 point " in Page(card(samples.verdict(score=99.0, checks=(lost,)))).text


def test_a_metric_and_its_validation_twin_share_one_chart():
    drawn = charts.panels(samples.exhibits().curves)
    assert [panel.name for panel in drawn] == ["loss", "accuracy"]
    assert [line.name for line in drawn[0].lines] == ["loss", "val_loss"]
    assert drawn[0].svg.count('class="line reactive') == 2


def test_a_chart_holds_only_shapes_and_numbers():
    (panel,) = charts.panels([Curve(name=samples.HOSTILE, values=(3.0, 2.0, 1.0))])
    page = Page(str(panel.svg))
    assert set(page.tags) <= {"svg", "g", "path", "line", "circle", "text"}
    assert {name for name, _ in page.attributes} <= {
        "class",
        "transform",
        "d",
        "x",
        "y",
        "x1",
        "y1",
        "x2",
        "y2",
        "cx",
        "cy",
        "r",
        "viewbox",
    }
    assert "evil" not in panel.svg


@pytest.mark.parametrize(
    "values",
    [
        (1.0,),
        (1.0, 1.0),
        (0.0,) * 5,
        (None, 2.0, None),
        (float("nan"), 2.0),
        (1e308, -1e308, 1.0),
        (-3e38, 3e38),
        (1e-300, 2e-300),
    ],
    ids=str,
)
def test_odd_values_still_make_a_chart(values):
    (panel,) = charts.panels([Curve(name="loss", values=values)])
    assert "nan" not in panel.svg
    assert "inf" not in panel.svg


def test_a_curve_without_a_number_makes_no_chart():
    assert (
        charts.panels([Curve(name="loss", values=(None, float("nan"), float("inf"))), Curve(name="x", values=())]) == ()
    )


def test_a_gap_in_a_curve_is_not_bridged():
    (panel,) = charts.panels([Curve(name="loss", values=(4.0, 3.0, None, 2.0, 1.0))])
    lines = [d for name, d in Page(str(panel.svg)).attributes if name == "d" and d.count("L") + d.count(" ") > 2]
    (gapped,) = charts.panels([Curve(name="loss", values=(4.0, 3.0, 2.5, 2.0, 1.0))])
    whole = [d for name, d in Page(str(gapped.svg)).attributes if name == "d" and d.count("L") + d.count(" ") > 2]
    assert lines != whole


def test_twenty_thousand_epochs_draw_a_small_chart_that_keeps_the_last():
    (panel,) = charts.panels([Curve(name="loss", values=tuple(1 / (i + 1) for i in range(20_000)))])
    assert len(panel.svg) < 30_000
    assert panel.epochs == 20_000
    assert ">20000<" in panel.svg


def test_a_hundred_metrics_draw_a_bounded_number_of_charts():
    curves = [Curve(name=f"metric {i}", values=(1.0, 2.0)) for i in range(100)]
    assert len(charts.panels(curves)) == charts.MAX_PANELS


@pytest.mark.parametrize("name", SAMPLES)
def test_a_card_without_pictures_stays_below_four_hundred_kilobytes(name):
    verdict, exhibits = SAMPLES[name]
    html = card(verdict(), msgspec.structs.replace(exhibits(), wrong=()), edition="staff", language="zh")
    assert len(html.encode("utf-8")) < 400_000


# ---------------------------------------------------------------- the overview


def row(**more):
    fields = {
        "lab": "mnist",
        "student": "student-001",
        "score": 61.0,
        "max_score": 100.0,
        "ending": Ending.OK,
        "level": Level.L2,
        "tier": samples.Tier.FULL,
        "card": "mnist/student-001/staff/card.html",
    }
    return ClassRow(**{**fields, **more})


def test_the_overview_links_every_card_and_names_who_needs_a_look():
    page = Page(render_index(samples.class_rows(), course_name="Deep Learning", language="en"))
    links = [value for name, value in page.attributes if name == "href"]
    assert "mnist/student-007/staff/card.html" in links
    assert "4 to look at" in page.text
    assert "1 flag" in page.text


def test_the_overview_says_why_somebody_needs_a_look():
    """Of a run with flags the first one's kind and message, of one that failed for us what failed; both clipped."""
    flagged = class_row(samples.partial(), "s")
    assert flagged.why == "check “gap” ended in an error of the suite"
    flagged = class_row(msgspec.structs.replace(samples.partial(), needs_attention=()), "s")
    assert flagged.why == "large literal: Cell 3 holds a 48 kB string of high entropy."
    assert "48 kB string of high entropy" in Page(render_index([flagged], course_name="", language="en")).text
    assert len(class_row(samples.hostile(), "s").why) < 200


def test_the_overview_says_from_how_many_runs_on_discrimination_is_computed():
    few = [class_row(samples.partial(), "s")]
    assert "from 8 runs on" in Page(render_index(few, course_name="", language="en")).text
    checks = [tuple(samples.class_check(name, 50.0 * (i % 2), 50.0) for name in "ab") for i in range(8)]
    enough = [row(student=f"s{i}", score=100.0 * (i % 2), checks=checks[i]) for i in range(8)]
    assert "runs on" not in Page(render_index(enough, course_name="", language="en")).text


def test_the_overview_allows_its_own_script_by_hash_and_no_other():
    page = Page(render_index(samples.class_rows(), course_name="Deep Learning", language="en"))
    (policy,) = [value for name, value in page.attributes if name == "content" and "default-src" in value]
    assert f"script-src '{digest(page.bodies['script'])}'" in policy
    assert page.tags.count("script") == 1


@pytest.mark.parametrize(
    "bad",
    [
        "javascript:alert(1)",
        "//evil.example/x",
        "/etc/passwd",
        "../up.html",
        "a/../../b",
        "C:\\x",
        "",
        "a//b",
        "\ud800",
    ],
)
def test_a_link_never_leaves_the_folder_of_the_overview(bad):
    page = Page(render_index([row(card=bad)], course_name="", language="en"))
    links = [value for name, value in page.attributes if name == "href"]
    assert links in ([], ["javascript%3Aalert%281%29"])


def test_a_link_to_a_name_in_chinese_is_percent_encoded():
    page = Page(render_index([row(card="mnist/学生 1/staff/card.html")], course_name="", language="en"))
    assert ("href", "mnist/%E5%AD%A6%E7%94%9F%201/staff/card.html") in page.attributes


def test_the_overview_shows_how_each_check_went_and_what_many_cards_advise():
    page = Page(render_index(samples.class_rows(), course_name="Deep Learning", language="en"))
    assert "Item" not in page.text
    for said in ("Your model names flowers.", "Scale the pixels.", "Discrimination", "Slowest", "Distribution"):
        assert said in page.text
    assert "students/student-007.html" in [value for name, value in page.attributes if name == "href"]


# ---------------------------------------------------------------- a student over all labs


def student_page(student="student-012", language="en", **more):
    runs = [StudentRun(verdict=samples.partial(), card="mnist/student-012/card.html", **more)]
    runs.append(StudentRun(verdict=samples.ours(), card="../escape"))
    return render_student(student, runs, course_name="Deep Learning", language=language)


def test_a_students_page_tells_each_lab_its_score_and_the_next_step():
    page = Page(student_page())
    assert "52.5 of 100 points" in page.text
    assert "Call model.save('mnist.keras') in the last cell." in page.text
    assert "could not be graded" in page.text
    assert [value for name, value in page.attributes if name == "href"] == ["../mnist/student-012/card.html"]


def test_a_students_page_holds_nothing_for_staff_and_runs_nothing():
    html = student_page(student=samples.HOSTILE)
    page = Page(html)
    for secret in ("Wilson", "high entropy", "error of the suite", "96.5"):
        assert secret not in html
    assert "script" not in page.tags
    assert "⟨U+202E⟩" in html


def test_a_students_page_shows_the_grade_after_policy():
    page = Page(student_page(grade=Grade(value=42.0, most=100.0, why=("2 days late: −10",))))
    assert "2 days late: −10" in page.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_empty_class_still_has_an_overview(language):
    assert "<table" in render_index([], course_name="", language=language)


# ---------------------------------------------------------------- languages


def test_a_chinese_card_says_nothing_in_english_but_names():
    page = Page(card(samples.verdict(), language="zh")).text
    assert "运行方式" in page
    assert ("lang", "zh-Hans") in Page(card(samples.verdict(), language="zh")).attributes
    for english in ("How it was run", "points", "limit", "Sandbox"):
        assert english not in page


# ---------------------------------------------------------------- colours


def palettes():
    """The colours of the style sheet: light, dark (what it changes) and print."""
    css = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{([^}]*)\}", css)
    light, dark, paper = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", block)) for block in blocks)
    return {"light": light, "dark": {**light, **dark}, "print": {**light, **paper}}


def luminance(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(c * 2 for c in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_all_text_has_the_contrast_that_wcag_asks_for(theme):
    palette = palettes()[theme]
    pairs = [
        (ink, ground)
        for ink in ("ink", "soft", "accent", "failed", "passed", "partial", "errored", "skipped")
        for ground in ("page", "panel")
    ]
    pairs += [("ink", wash) for wash in palette if wash.endswith("-wash")]
    pairs += [
        ("accent", "accent-wash"),
        ("errored", "errored-wash"),
        ("soft", "errored-wash"),
        ("accent", "errored-wash"),
        ("soft", "code"),
        ("ink", "code"),
    ]
    for ink, ground in pairs:
        high, low = sorted((luminance(palette[ink]), luminance(palette[ground])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (theme, ink, ground)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_card_tells_in_which_range_a_model_was_asked(language):
    """The range is inferred from the training, so a student must be able to see it; a model of tables has none."""
    shown = samples.exhibits()
    for asked, wanted in (((-1.0, 1.0), ("-1", "1")), ((-0.4242, 2.8215), ("-0.424", "2.82")), (None, ())):
        html = card(samples.verdict(), msgspec.structs.replace(shown, asked=asked), language=language)
        line = ("pixels from {} to {}" if language == "en" else "像素范围为 {} 到 {}").format(*(wanted or ("", "")))
        assert (line in html) is bool(wanted)
