"""Cards and the overview, opened in a real browser as a student or a teacher would."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from axe_playwright_python.sync_playwright import Axe

from grader.records import Exhibits
from grader.reports import Grade, StudentRun, parts, render_card, render_index, render_part, render_student
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


def student_page(language="en"):
    """Two labs of one student, one with a grade after policy."""
    grade = Grade(value=42.5, most=100.0, why=("2 days late: −10",), comments=("Come to the office hour.",))
    runs = [
        StudentRun(verdict=samples.partial(), card="mnist/student-012/card.html", grade=grade),
        StudentRun(verdict=samples.timed_out(lab="iris", lab_title="Iris"), card="iris/student-012/card.html"),
    ]
    return render_student("student-012", runs, course_name="Deep Learning", language=language)


PAGES = {
    "student's card": lambda language: card("partial", edition="student", language=language),
    "staff's card": lambda language: card("partial", language=language),
    "card of an error": lambda language: card("crashed", language=language),
    "hostile card": lambda language: card("hostile", language=language),
    "overview": overview,
    "student's page": student_page,
}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_to_complain_of(visit, name, theme, language):
    """Contrast, names, roles and order, as axe-core checks them; at phone width too, where tables scroll."""
    axe = Axe()
    for width in (900, 320):
        page = visit(PAGES[name](language), theme=theme, width=width)
        found = axe.run(page).response["violations"]
        assert [(rule["id"], [node["target"] for node in rule["nodes"]][:3]) for rule in found] == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["overview", "student's page"])
def test_the_pages_of_many_runs_fit_a_phone_and_ask_for_nothing(visit, name, theme):
    page = visit(PAGES[name]("en"), width=320, theme=theme)
    assert overflow(page) <= 0
    assert page.requested == [page.url]
    assert page.complaints == []


@pytest.mark.parametrize("name", PAGES)
def test_every_page_prints_to_pdf(visit, name):
    page = visit(PAGES[name]("zh"), theme="dark")
    assert page.pdf(format="A4", print_background=True).startswith(b"%PDF")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator(".filters").count() == 0 or not page.locator(".filters").is_visible()


TABBED = """() => {
    const here = document.activeElement;
    const ring = getComputedStyle(here);
    return [here.tagName, here.textContent.trim().slice(0, 40), ring.outlineStyle !== 'none'];
}"""


def tab_through(page):
    """What the Tab key reaches, in order: (tag, text, whether the focus can be seen)."""
    reached = []
    while len(reached) < 200:
        page.keyboard.press("Tab")
        found = page.evaluate(TABBED)
        if found[0] == "BODY":
            break
        reached.append(found)
    return reached


@pytest.mark.parametrize("name", ["student's card", "overview", "student's page"])
def test_every_link_and_control_is_reached_by_the_keyboard_and_seen(visit, name):
    page = visit(PAGES[name]("en"))
    controls = page.locator("a, button, input, select, summary").filter(visible=True).count()
    reached = tab_through(page)
    assert sum(tag in {"A", "BUTTON", "INPUT", "SELECT", "SUMMARY"} for tag, _, _ in reached) == controls
    assert all(seen for _, _, seen in reached)


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
    for make in PAGES.values():
        page = visit(make("en"))
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


def shown(page):
    return page.locator(".sortable tbody tr").filter(visible=True).count()


def test_the_overview_filters_by_student_lab_ending_and_what_needs_a_look(visit):
    page = visit(overview())
    page.get_by_role("searchbox", name="Student").fill("STUDENT-01")
    assert shown(page) == 8
    assert page.get_by_role("status").inner_text() == "found: 8 / 18"
    page.get_by_role("combobox", name="Lab").select_option("iris")
    assert shown(page) == 4
    page.get_by_role("searchbox", name="Student").fill("")
    page.get_by_role("combobox", name="Lab").select_option("")
    page.get_by_role("combobox", name="Ending").select_option("out of time")
    assert shown(page) == 3
    page.get_by_role("combobox", name="Ending").select_option("")
    page.get_by_role("checkbox").check()
    assert shown(page) == 4


def test_the_overview_filters_and_sorts_with_the_keyboard_alone(visit):
    page = visit(overview())
    page.get_by_role("searchbox", name="Student").focus()
    page.keyboard.type("student-00")
    assert shown(page) == 10
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert shown(page) == 2
    page.get_by_role("button", name="Time").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("Time")
    assert shown(page) == 2, "sorting keeps the filter"


def test_the_overview_shows_every_row_without_scripts(visit):
    page = visit(overview(), scripts=False)
    assert page.locator(".sortable tbody tr").count() == 18
    assert page.get_by_role("button").count() == 0
    assert not page.locator(".filters").is_visible()


def large_class(runs):
    """The sample class again and again, in one lab; every hundredth needs a look."""
    few = samples.class_rows()
    return tuple(
        msgspec.structs.replace(
            few[i % len(few)],
            lab="iris",
            student=f"s{i:05d}",
            score=float((i * 37) % 1_009) / 10,
            card=f"iris/s{i:05d}/staff/card.html",
            page=f"students/s{i:05d}.html",
            needs_attention=i % 100 == 0,
            flags=0,
        )
        for i in range(runs)
    )


@pytest.mark.slow
def test_the_table_of_ten_thousand_runs_is_searched_and_sorted(visit):
    """The overview stays small and links to the table; that one shows a part at a time and finds every run."""
    rows = large_class(10_000)
    (part,) = parts(rows)
    index = render_index(rows, (part,), course_name="Deep Learning", language="en")
    page = visit(index)
    assert len(index) < 100_000
    assert page.locator("a[href='lab-iris.html']").count() == 1
    assert page.locator(".attention li").count() == 100

    page = visit(render_part(part, course_name="Deep Learning", language="en"))
    assert page.complaints == []
    assert shown(page) == 200
    assert page.get_by_role("status").inner_text() == "found: 10000 / 10000"
    page.get_by_role("button", name="Show more").click()
    assert shown(page) == 400
    page.get_by_role("button", name="Score").click()
    page.get_by_role("button", name="Score").click()
    assert float(column(page, 2)[0]) == max(row.score for row in rows)
    assert shown(page) == 200
    page.get_by_role("checkbox").check()
    assert page.get_by_role("status").inner_text() == "found: 100 / 10000"
    page.get_by_role("checkbox").uncheck()
    page.get_by_role("searchbox", name="Student").fill("s0999")
    assert shown(page) == 10
    assert page.locator("a[href='iris/s09999/staff/card.html']").count() == 1


def test_without_scripts_a_divided_table_shows_every_row(visit):
    """What the script would show by and by is all there."""
    (part,) = parts(large_class(2_001))
    page = visit(render_part(part, course_name="", language="en"), scripts=False)
    assert page.locator(".sortable tbody tr").filter(visible=True).count() == 2_001


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_measured_figure_lies_where_its_value_is(visit, theme):
    """The mark of 91.2 % stands in the zone of partial credit, inside its own interval."""
    page = visit(card("partial"), theme=theme)
    boxes = page.evaluate(
        """() => Object.fromEntries(['spot', 'chance', 'zone.partial', 'zone.passed'].map(name => {
            const box = document.querySelector('.band rect.' + name).getBoundingClientRect();
            return [name, [box.left, box.right]];
        }))"""
    )
    assert boxes["zone.partial"][0] < boxes["spot"][0] < boxes["spot"][1] < boxes["zone.partial"][1]
    assert boxes["chance"][0] < boxes["spot"][0] < boxes["spot"][1] < boxes["chance"][1]
    assert boxes["zone.partial"][1] == pytest.approx(boxes["zone.passed"][0], abs=0.5)
