"""The words of a page: English in the source, other languages as gettext catalogues in ``grader/locale``.

Adding a language is adding ``<code>.po`` there, and ``labs/<id>/locale/<code>.po`` for what the suites say (see
``phrases``). Babel parses a catalogue when it is first needed and the standard library looks messages up, so nothing
has to be compiled before the package can be used. The catalogue's ``Language`` header is what the page's ``lang`` says.
"""

from __future__ import annotations

import functools
import io
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from grader import settings

Language = str


class Words:
    """Looks up messages and fills in their ``%(names)s``; the interface Jinja's i18n extension expects."""

    def __init__(self, catalogue: NullTranslations, tag: str = "en") -> None:
        self._catalogue = catalogue
        self.tag = tag

    def gettext(self, message: str, /, **values: object) -> str:
        return self._catalogue.gettext(message) % values

    def ngettext(self, one: str, many: str, count: int, /, **values: object) -> str:
        return self._catalogue.ngettext(one, many, count) % {"num": count, **values}

    @property
    def catalogue(self) -> NullTranslations:
        return self._catalogue


def words(language: Language) -> Words:
    """The words of one language; English where there is no catalogue of it."""
    return _words(settings.LOCALE / f"{language}.po")


@functools.cache
def read_catalogue(path: Path) -> Catalog:
    """A catalogue as Babel reads it; an empty one where there is no such file."""
    if not path.is_file():
        return Catalog()
    with path.open("rb") as file:
        # The code only has to name a language that Babel has plural rules for; a catalogue's own header overrides them.
        return read_po(file, abort_invalid=True)


@functools.cache
def _words(path: Path) -> Words:
    if not path.is_file():
        return Words(NullTranslations())
    catalogue = read_catalogue(path)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    tag = str(catalogue.locale_identifier or path.stem).replace("_", "-")
    return Words(GNUTranslations(compiled), tag)
