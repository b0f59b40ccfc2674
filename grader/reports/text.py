"""Text from a submission, made safe to look at.

HTML escaping (Jinja's autoescape) keeps text from becoming markup. That is not enough: a bidi override
reverses what a reader sees, a zero-width character hides a difference, an escape sequence or a 10 kB name
ruins the page. ``visible`` therefore spells out every character that has no honest picture, as
``⟨U+202E⟩``, and ``clip`` bounds length. Templates apply both to *every* expression (see ``page``).
"""

from __future__ import annotations

import datetime as dt
import math
import re
import unicodedata

CLIP = 1_200
"""Characters of one field that a card shows; a traceback may take ``CLIP_LONG``."""
CLIP_LONG = 8_000

# Colour codes are what IPython puts into every traceback: dropped. Any other escape sequence is shown.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# Printable by category and yet drawn as nothing: fillers, the blank braille cell, joiners and selectors.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_PLAIN = re.compile(r"[\n\t\x20-\x7e]*")
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MARKS = frozenset({"Mn", "Me"})
# Vietnamese and Hebrew stack two or three marks on a letter; "zalgo" text stacks dozens over other lines.
_MARKS_IN_A_ROW = 4


def clip(text: str, limit: int = CLIP) -> str:
    """At most ``limit`` characters, saying how many were left out."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]} … (+{len(text) - limit:,})"


# How IPython begins a frame: of a cell, of what `%%time` runs, or of a file, which is nobody's own.
_OWN_FRAME = re.compile(r"\s*(?:Cell In ?\[\d+\]|Input In ?\[\d+\]|File <timed exec>)")
_FRAME = re.compile(rf"(?:{_OWN_FRAME.pattern}|\s*File \S)")


def own_frames(traceback: str) -> str:
    """An IPython traceback in short: how it begins, the frames that are the notebook's own cells, and its last line."""
    lines = _COLOUR.sub("", traceback).strip("\n").split("\n")
    kept: list[str] = []
    keep = True
    for line in lines:
        if _FRAME.match(line):
            keep = _OWN_FRAME.match(line) is not None
        if keep:
            kept.append(line)
        if not line.strip():  # a frame ends here, or the head; what follows is another, or the message
            keep = False
    return "\n".join(kept if kept and kept[-1] == lines[-1] else [*kept, lines[-1]])


def visible(text: str) -> str:
    """The text with every character that would be unseen, or would move others, spelt out."""
    text = _COLOUR.sub("", text).replace("\r\n", "\n")
    if _PLAIN.fullmatch(text):
        return text
    used = set(text)  # a long text has few different characters: looking at each of them once is 15 times as fast
    if not any(unicodedata.category(character) in _MARKS for character in used):
        spelt = {ord(character): _spelt(character) for character in used if _is_unseen(character)}
        return text.translate(spelt) if spelt else text
    shown: list[str] = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in _MARKS else 0
        if _is_unseen(character):
            shown.append(_spelt(character))
        elif marks <= _MARKS_IN_A_ROW:
            shown.append(character)
    return "".join(shown)


def _spelt(character: str) -> str:
    return f"⟨U+{ord(character):04X}⟩"


def _is_unseen(character: str) -> bool:
    if character in "\n\t":
        return False
    return unicodedata.category(character) in _UNSEEN or character in _BLANK or _is_selector(character)


def _is_selector(character: str) -> bool:
    """Variation selectors are unseen; U+FE0F alone is kept, it is part of ordinary emoji."""
    return "\ufe00" <= character <= "\ufe0e" or "\U000e0100" <= character <= "\U000e01ef"


def number(value: float, digits: int = 2) -> str:
    """``62.5``, ``100``, ``0.04``: as few digits as say it; never ``-0`` or ``1e+02``."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:,.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def significant(value: float) -> str:
    """A metric's value in four significant digits."""
    return f"{value:.4g}" if math.isfinite(value) else "–"


def seconds(value: float) -> str:
    """``0.35 s``, ``12.4 s``, ``3 min 20 s``: the precision a reader wants."""
    if not math.isfinite(value):
        return "–"
    if value < 10:
        return f"{number(value, 2)} s"
    if value < 120:
        return f"{number(value, 1)} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def when(stamp: str) -> str:
    """``2026-03-02 14:05 UTC`` of an ISO time; anything else as it stands."""
    try:
        moment = dt.datetime.fromisoformat(stamp)
    except ValueError:
        return stamp
    return f"{moment:%Y-%m-%d %H:%M} {moment.tzname() or ''}".rstrip()


def size(count: int) -> str:
    """A file's size for people."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{number(value, 1)} {unit}"
        value /= 1024
    return f"{number(value, 1)} GiB"
