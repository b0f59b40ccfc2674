"""How a page is put together: templates, the content policy, and what happens to every expression.

* Autoescape is on and every ``{{ expression }}`` passes ``_shown``: unseen characters are spelt out and length is
  bounded, so a template cannot forget it.
* The policy starts from ``default-src 'none'``. The one style sheet and the one script (overview only) are allowed by
  their hash; pictures only as ``data:``. Style attributes and other scripts are refused, even if one got through.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from pathlib import Path
from urllib.parse import quote

import jinja2
from markupsafe import Markup, escape

from grader.reports import text
from grader.reports.language import Language, Words, words

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, language: Language, *, script: str = "", **values: object) -> str:
    """The page a template makes in one language; ``script`` names a file beside the templates."""
    style = _asset("style.css")
    code = _asset(script) if script else Markup("")
    said = words(language)
    return (
        _environment(said)
        .get_template(template)
        .render(lang=said.tag, style=style, script=code, policy=_policy(style, code), **values)
    )


def _policy(style: str, code: str) -> str:
    parts = [
        "default-src 'none'",
        f"style-src {_hash(style)}",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    if code:
        parts.append(f"script-src {_hash(code)}")
    return "; ".join(parts)


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode('ascii')}'"


@functools.cache
def _asset(name: str) -> Markup:
    """A style sheet or script of ours; the only text that enters a page without being escaped."""
    return _Asset((TEMPLATES / name).read_text(encoding="utf-8"))


@functools.cache
def _environment(said: Words) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        finalize=_shown,
    )
    install = environment.install_gettext_callables  # type: ignore[attr-defined]  # the extension adds it
    install(said.catalogue.gettext, said.catalogue.ngettext, newstyle=True)
    environment.filters.update(
        number=text.number,
        significant=text.significant,
        seconds=text.seconds,
        size=text.size,
        when=text.when,
        clip=text.clip,
        long=_long,
        prose=_prose,
    )
    return environment


def href(path: str) -> str:
    """A link below a page's own folder, or none: no scheme, no host, no way up."""
    parts = path.split("/")
    if not path or "\\" in path or any(part in {"", ".", ".."} for part in parts):
        return ""
    # quote() leaves no ':' in the first part, so nothing can be read as a scheme; lone surrogates are refused.
    try:
        return "/".join(quote(part, safe="") for part in parts)
    except UnicodeEncodeError:
        return ""


class _Asset(Markup):
    """Our own file: nothing in it has to be spelt out. Reading 18 kB by the character took 90 % of a student's page."""

    __slots__ = ()


class _Long(str):
    """Text that may take more room than a field: a traceback, a cell."""

    __slots__ = ()


def _long(value: str) -> str:
    return _Long(text.clip(value, text.CLIP_LONG))


def _prose(value: str) -> Markup:
    """A sentence in which `` `names` `` stand in backticks, as descriptions and hints are written: shown as code."""
    parts = text.visible(text.clip(value)).split("`")
    if len(parts) % 2 == 0:  # an odd backtick is only a backtick
        return escape("`".join(parts))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts)
    )


def _shown(value: object) -> object:
    """What an expression prints: Jinja escapes the result unless it is our own markup."""
    if isinstance(value, _Asset):
        return value
    if isinstance(value, Markup):
        # Already escaped, so only unseen characters are left to spell out; the spelling holds no markup.
        return Markup(text.visible(value))  # noqa: S704 - marked safe before, and only its characters are spelt out
    if isinstance(value, _Long):
        return text.visible(value)
    if isinstance(value, str):
        return text.visible(text.clip(value))
    return "" if value is None else value
