"""What tests share: small labs, zygotes started once, notebooks of a few lines run in them, and a browser."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from grader import wire
from grader.labs import load_lab
from grader.records import Limits
from grader.runner import Job, run_notebook
from grader.sandbox import available
from grader.sandbox.canary import choose
from grader.zygote import Zygote
from tests.lacking import lacking

# An example that is slow because the machine is busy is no failure.
hypothesis_settings.register_profile("grader", deadline=None)
hypothesis_settings.load_profile("grader")

CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]

LIMITS = Limits(wall_s=20, memory_mb=512, output_mb=5, disk_mb=64, question_s=10, threads=1)


@pytest.fixture(scope="session", autouse=True)
def private_state(tmp_path_factory):
    """No test sees or changes the state folder, settings or data of whoever runs it."""
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    for name in ("GRADER_DATA", "GRADER_SECRET", "GRADER_LANGUAGE"):
        patch.delenv(name, raising=False)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def backend():
    """The strongest sandbox of this machine."""
    return choose(sys.executable)[0]


@pytest.fixture(scope="session")
def zygote(backend):
    """A zygote without TensorFlow: starts in a second, and knows no models."""
    with Zygote(backend, sys.executable, options={"tensorflow": False}, slot=1) as started:
        yield started


@pytest.fixture(scope="session", params=[backend.name for backend in available()])
def any_zygote(request):
    """A zygote in every kind of sandbox this machine has."""
    backend = next(b for b in available() if b.name == request.param)
    with Zygote(backend, sys.executable, options={"tensorflow": False}, slot=2) as started:
        yield started


@pytest.fixture
def notebook(zygote):
    """Runs code cells in the shared zygote; every run is ended with the test. Options are those of `Job` and `Limits`."""
    started = []

    def run(*sources, where=None, limits=(), **job):
        cells = tuple(wire.SourceCell("code", source) for source in sources)
        with_limits = LIMITS.__class__(
            **{name: getattr(LIMITS, name) for name in LIMITS.__struct_fields__} | dict(limits)
        )
        done = run_notebook(where or zygote, Job(cells=cells, seed=7, limits=with_limits, **job))
        started.append(done)
        return done

    yield run
    for done in started:
        done.close()


@pytest.fixture
def make_lab(tmp_path):
    """Writes a lab of that suite and loads it. The contract names a function ``f`` and a value ``x`` unless told otherwise."""

    def make(suite, *, lab="tiny", data="none", points=10, contract=None, spec="", folder: Path | None = None):
        named = contract if contract is not None else {"f": "function", "x": "value", "Thing": "class"}
        lines = [
            "schema = 1",
            f'id = "{lab}"',
            'title = "A tiny lab"',
            'title_zh = "小实验"',
            f'data = "{data}"',
            f"points = {points}",
            "starter_score = 0",
            "[limits]",
            "wall_s = 20",
            "memory_mb = 512",
            "disk_mb = 32",
            "question_s = 10",
            "threads = 1",
            *(f'[contract.{name}]\nkind = "{kind}"' for name, kind in named.items()),
            spec,
        ]
        root = (folder or tmp_path / "labs") / lab
        for kind in ("hidden_tests", "public_tests"):
            (root / kind).mkdir(parents=True, exist_ok=True)
        (root / "lab.toml").write_text("\n".join(lines), "utf-8")
        (root / "hidden_tests" / f"test_{lab}.py").write_text(suite, "utf-8")
        return load_lab(root)

    return make


# Of one module: Playwright's synchronous interface keeps an event loop running in this thread until it is stopped, and
# tests that run one of their own come after these.
@pytest.fixture(scope="module")
def chromium():
    """A real one: Debian's, driven by Playwright."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        lacking("no Chromium here (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, tmp_path):
    """Opens HTML as a file; gives the page, and lists of its requests and complaints."""
    contexts = []

    def visit(html, *, width=900, theme="light", scripts=True):
        context = chromium.new_context(
            viewport={"width": width, "height": 800}, color_scheme=theme, java_script_enabled=scripts
        )
        contexts.append(context)
        page = context.new_page()
        page.requested, page.complaints = [], []
        page.on("request", lambda request: page.requested.append(request.url))
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (page.complaints.append(dialog.message), dialog.dismiss()))
        file = tmp_path / "page.html"
        file.write_text(html, encoding="utf-8")
        page.goto(file.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
