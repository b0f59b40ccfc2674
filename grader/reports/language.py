"""The words of a page: English in the source, other languages as gettext catalogues in ``locale/``.

Adding a language is adding ``locale/<code>.po``. Babel parses the catalogue when it is first needed and the
standard library looks messages up, so nothing has to be compiled before the package can be used.
"""

from __future__ import annotations

import functools
import io
from gettext import GNUTranslations, NullTranslations
from pathlib import Path
from typing import Literal

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

Language = Literal["en", "zh"]

LOCALE = Path(__file__).parent / "locale"
TAGS: dict[Language, str] = {"en": "en", "zh": "zh-Hans"}


class Words:
    """Looks up messages and fills in their ``%(names)s``; the interface Jinja's i18n extension expects."""

    def __init__(self, catalogue: NullTranslations) -> None:
        self._catalogue = catalogue

    def gettext(self, message: str, /, **values: object) -> str:
        return self._catalogue.gettext(message) % values

    def ngettext(self, one: str, many: str, count: int, /, **values: object) -> str:
        return self._catalogue.ngettext(one, many, count) % {"num": count, **values}

    @property
    def catalogue(self) -> NullTranslations:
        return self._catalogue


@functools.cache
def words(language: Language) -> Words:
    """The words of one language."""
    path = LOCALE / f"{language}.po"
    if not path.is_file():
        return Words(NullTranslations())
    with path.open("rb") as file:
        catalogue = read_po(file, locale=language, abort_invalid=True)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return Words(GNUTranslations(compiled))
