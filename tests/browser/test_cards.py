"""Cards and the overview, opened in a real browser as a student or a teacher would."""

from __future__ import annotations

import itertools

import pytest

from grader.records import Exhibits
from grader.reports import render_card, render_index
from tests.browser import samples

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SAMPLES = {
    "excellent": (samples.excellent, samples.exhibits),
    "partial": (samples.partial, samples.exhibits),
    "crashed": (samples.crashed, Exhibits),
    "timed out": (samples.timed_out, Exhibits),
    "empty": (samples.empty, Exhibits),
    "ours": (samples.ours, Exhibits),
    "hostile": (samples.hostile, samples.hostile_exhibits),
}


def card(name, *, edition="staff", language="en"):
    verdict, exhibits = SAMPLES[name]
    return render_card(
        verdict(),
        exhibits(),
        edition=edition,
        course_name="Deep Learning",
        language=language,
        executed_cells=samples.cells(),
    )


def overview(language="en"):
    return render_index(samples.class_rows(), course_name="Deep Learning", language=language)


def overflow(page):
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", SAMPLES)
def test_a_card_asks_for_nothing_runs_nothing_and_breaks_no_policy(visit, name, language):
    page = visit(card(name, language=language))
    assert [url for url in page.requested if not url.startswith("data:image/png")] == [page.url]
    assert page.complaints == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", SAMPLES)
def test_a_card_fits_a_phone_320_pixels_wide(visit, name, theme):
    assert overflow(visit(card(name), width=320, theme=theme)) <= 0


def test_nothing_that_gets_past_escaping_would_run(visit):
    """The policy is the second wall: markup put into the finished page stays dead."""
    attack = (
        "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
        "<img src='https://evil.example/beacon.png'><style>body{background:url(https://evil.example/b)}</style>"
    )
    page = visit(card("excellent").replace("<main>", "<main>" + attack))
    page.wait_for_timeout(200)
    assert page.title() != "owned"
    # Chromium announces a request and then refuses it by policy; none may have been answered.
    assert any("Content Security Policy" in text for text in page.complaints)
    assert page.evaluate("performance.getEntriesByType('resource').filter(e => e.responseStatus).length") == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_curves_are_painted_and_follow_the_theme(visit, theme):
    page = visit(card("excellent"), theme=theme)
    strokes = page.evaluate(
        "[...document.querySelectorAll('.drawing .series path')].map(p => getComputedStyle(p).stroke)"
    )
    expected = {"light": "rgb(11, 98, 196)", "dark": "rgb(116, 180, 255)"}[theme]
    assert expected in strokes
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(246, 245, 242)", "dark": "rgb(19, 22, 27)"}[theme]
    boxes = page.evaluate("[...document.querySelectorAll('.drawing .series path')].map(p => p.getBBox().width)")
    assert min(boxes) > 100


def test_a_card_needs_no_script(visit):
    page = visit(card("crashed"), scripts=False)
    assert page.locator("summary", has_text="Traceback").is_visible()
    page.locator("summary", has_text="Traceback").click()
    assert page.locator("pre.traceback").is_visible()


def test_the_next_step_leads_to_what_it_is_about(visit):
    page = visit(card("crashed"))
    page.get_by_role("link", name="See why").click()
    assert page.evaluate("document.querySelector(':target').id") == "cell-5"


def test_a_card_reads_in_order_by_its_headings(visit):
    page = visit(card("partial"))
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


REPEATED_IDS = """() => {
    const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
    return ids.filter((id, i) => ids.indexOf(id) !== i);
}"""
DANGLING_LABELS = """() => [...document.querySelectorAll('[aria-labelledby]')]
    .map(e => e.getAttribute('aria-labelledby'))
    .filter(id => !document.getElementById(id))"""


def test_ids_are_unique_and_labels_point_somewhere(visit):
    for html in (card("partial"), card("crashed"), card("hostile"), overview()):
        page = visit(html)
        assert page.evaluate(REPEATED_IDS) == []
        assert page.evaluate(DANGLING_LABELS) == []


@pytest.mark.parametrize("name", ["partial", "hostile"])
def test_a_card_prints_as_light_pages_even_from_a_dark_screen(visit, name):
    page = visit(card(name), theme="dark")
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_overview_asks_for_nothing_and_fits_a_phone(visit, language):
    page = visit(overview(language), width=320)
    assert page.requested == [page.url]
    assert page.complaints == []
    assert overflow(page) <= 0


def column(page, number):
    return page.evaluate(
        "n => [...document.querySelector('.sortable').tBodies[0].rows].map(r => r.cells[n].dataset.value)", number
    )


def test_the_overview_sorts_numbers_as_numbers_both_ways(visit):
    page = visit(overview())
    page.get_by_role("button", name="Score").click()
    scores = [float(value) for value in column(page, 2)]
    assert scores == sorted(scores)
    page.get_by_role("button", name="Score").click()
    assert [float(value) for value in column(page, 2)] == sorted(scores, reverse=True)
    assert page.locator("th[aria-sort=descending]").count() == 1


def test_the_overview_sorts_with_the_keyboard_alone(visit):
    page = visit(overview())
    page.get_by_role("button", name="Student").focus()
    page.keyboard.press("Enter")
    assert column(page, 0) == sorted(column(page, 0))
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("Student")


def test_the_overview_shows_every_row_without_scripts(visit):
    page = visit(overview(), scripts=False)
    assert page.locator(".sortable tbody tr").count() == 18
    assert page.get_by_role("button").count() == 0
