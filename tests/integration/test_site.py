"""The documents as a site: it builds strictly, without a network, holds every page, and loads nothing from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


class Loaded(HTMLParser):
    """What a page loads by itself: scripts, styles, pictures, fonts. Links that a reader follows are none."""

    def __init__(self):
        super().__init__()
        self.places = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source") and given.get("src"):
            self.places.append(given["src"])
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.places.append(given.get("href") or "")


def build(folder, root=ROOT):
    """As `make docs` builds it, with nothing of this machine's settings and no way out."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {
        "PATH": "/usr/bin:/bin",
        "NO_MKDOCS_2_WARNING": "1",
        "http_proxy": "http://localhost:9",
        "LANG": "C.UTF-8",
    }
    return subprocess.run(command, cwd=root, env=environment, text=True, capture_output=True, timeout=200, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("left-out.md", "# A page that is in no navigation"),
        ("index.md", "[nowhere](nowhere.md)"),
        ("index.md", "[no such heading](commands.md#nowhere)"),
    ],
)
def test_a_page_left_out_and_a_link_to_nowhere_end_the_build(tmp_path, page, text):
    for name in ("docs", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    with (tmp_path / "docs" / page).open("a", encoding="utf-8") as file:
        file.write(f"\n{text}\n")
    done = build(tmp_path / "site", tmp_path)
    assert done.returncode == 1
    assert "in strict mode" in done.stdout + done.stderr


def test_every_document_is_a_page_of_the_site_and_stands_in_its_navigation(site):
    """A page that nobody can find is not there; a broken link or anchor ends the build."""
    home = (site / "index.html").read_text("utf-8")
    for page in sorted((ROOT / "docs").rglob("*.md")):
        name = page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert (site / name).is_file()
        assert f'href="{name}"' in home, name


def test_no_page_loads_anything_from_elsewhere(site):
    """Opened in a room without a network, a page looks the same, and nobody learns that it was opened."""
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text("utf-8"))
        assert loaded.places
        assert not [place for place in loaded.places if re.match(r"(\w+:)?//", place)], page.name
    styles = "".join(path.read_text("utf-8") for path in site.rglob("*.css"))
    assert not re.findall(r"(?:@import|url\()\s*[\"']?(?:\w+:)?//", styles)


def test_the_makefile_builds_it_strictly():
    """--quiet would hide the warnings from --strict."""
    (recipe,) = re.findall(r"^docs: .*\n\t(.+)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert "mkdocs build --strict" in recipe
    assert "--quiet" not in recipe
