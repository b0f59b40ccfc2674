"""Training curves and calibration as inline SVG, drawn by pygal (docs/decisions/002-charts.md has the figures).

pygal draws a self-contained picture: a script, a style sheet, tooltips and random ids. A card wants none of
them: its content policy refuses scripts, and its own style sheet paints the lines so that they follow the
reader's light, dark or paper. So the drawing is parsed again and only elements and attributes that are needed
to draw survive; names of curves never enter the drawing, the template writes them beside it.
"""

from __future__ import annotations

import functools
import math
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence

import msgspec
import pygal
from markupsafe import Markup
from pygal.style import Style

from grader.records import Bin, Curve, Record

# pygal 3.1.3 leaves an import hook behind that speaks the protocol Python 3.12 removed: on 3.11 every later import of a
# new module warns because of it. It serves map plugins, which nobody here draws; the process gets its path back.
sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, pygal.PluginImportFixer)]

MAX_PANELS = 6
MAX_POINTS = 120
"""Twice the pixels a phone has for a chart's width say nothing more; longer curves are thinned."""
_DOTS_UP_TO = 15
_FEWEST = 5  # a share of fewer predictions jumps by a quarter and more
_WIDTH, _HEIGHT = 360, 190
# float32's largest value; beyond it pygal's axis arithmetic overflows and no reader learns anything.
_LARGEST = 3.4e38

_KEPT_TAGS = frozenset({"svg", "g", "path", "line", "circle", "text"})
_KEPT_ATTRIBUTES = frozenset({"class", "transform", "d", "x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "viewBox"})
_DROPPED_CLASSES = frozenset({"tooltip", "text-overlay", "background", "title", "titles"})
_SVG = "{http://www.w3.org/2000/svg}"


class Line(Record, frozen=True):
    """One curve of a panel: what the legend says about it."""

    name: str
    first: float | None
    last: float | None


class Panel(Record, frozen=True):
    """A metric and, where recorded, its ``val_`` twin: they share an axis and so one drawing.

    One epoch is no curve: its figure is told and nothing is drawn.
    """

    name: str
    epochs: int
    lines: tuple[Line, ...]
    svg: Markup


class Training(Record, frozen=True):
    """The training of one model, named where a lab asks for several: what is drawn, and what one epoch left."""

    model: str
    drawn: tuple[Panel, ...]
    once: tuple[Line, ...]


def trainings(curves: Sequence[Curve]) -> tuple[Training, ...]:
    """The trainings that the curves are of. Of many models each has fewer panels, the loss first: a card stays as small."""
    found: dict[str, list[Curve]] = {}
    for curve in curves:
        model, metric = owner(curve.name)
        found.setdefault(model, []).append(msgspec.structs.replace(curve, name=metric))
    if len(found) > 1:  # Keras tells an epoch's metrics by name, accuracy before loss
        for own in found.values():
            own.sort(key=lambda curve: curve.name.removeprefix("val_") != "loss")
    most = max(1, MAX_PANELS // max(1, len(found)))
    drawn = [(model, panels(own, most)) for model, own in list(found.items())[:MAX_PANELS]]
    return tuple(
        Training(
            model=model,
            drawn=tuple(panel for panel in own if panel.svg),
            once=tuple(line for panel in own if not panel.svg for line in panel.lines),
        )
        for model, own in drawn
        if own
    )


def owner(name: str) -> tuple[str, str]:
    """The model that a curve or layer belongs to and its own name; no model where the lab asks for one only."""
    model, apart, own = name.partition(": ")
    return (model, own) if apart else ("", name)


def panels(curves: Sequence[Curve], most: int = MAX_PANELS) -> tuple[Panel, ...]:
    """The curves grouped and drawn, at most so many; curves without a single finite value are left out."""
    return _panels(tuple(curves), most)


@functools.lru_cache(maxsize=2 * MAX_PANELS)  # both editions of a card draw the same curves
def _panels(curves: tuple[Curve, ...], most: int) -> tuple[Panel, ...]:
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        if any(_finite(value) is not None for value in curve.values):
            groups.setdefault(curve.name.removeprefix("val_"), []).append(curve)
    return tuple(_panel(name, group[:2]) for name, group in list(groups.items())[:most])


def _panel(name: str, curves: Sequence[Curve]) -> Panel:
    epochs = max(len(curve.values) for curve in curves)
    values = [[_finite(value) for value in curve.values] for curve in curves]
    step = max(1, math.ceil(epochs / MAX_POINTS))
    kept = sorted({*range(0, epochs, step), epochs - 1})
    shown = [[column[i] if i < len(column) else None for i in kept] for column in values]
    return Panel(
        name=name,
        epochs=epochs,
        lines=tuple(_line(curve.name, column) for curve, column in zip(curves, values, strict=True)),
        svg=_draw(shown, [i + 1 for i in kept]) if epochs > 1 else Markup(""),
    )


def _line(name: str, values: Sequence[float | None]) -> Line:
    known = [value for value in values if value is not None]
    return Line(name=name, first=known[0] if len(known) > 1 else None, last=known[-1])


def _finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) <= _LARGEST else None


class Calibration(Record, frozen=True):
    """How sure the model is against how often it is right, drawn, and both on average."""

    sure: float
    right: float
    svg: Markup


@functools.lru_cache(maxsize=4)
def calibration(bins: tuple[Bin, ...]) -> Calibration | None:
    """Confidence on one axis, the share that is right on the other, and the line on which both agree."""
    known = [spot for spot in bins if spot.count > 0 and 0 <= spot.confidence <= 1.001 and 0 <= spot.right <= 1]
    total = sum(spot.count for spot in known)
    if not total:
        return None
    chart = pygal.XY(**_looks(), stroke=True, show_dots=True, dots_size=3, xrange=(0, 1), range=(0, 1), margin_right=18)
    chart.x_labels = chart.y_labels = [0, 0.25, 0.5, 0.75, 1]
    chart.x_value_formatter = chart.value_formatter = lambda value: f"{100 * value:.0f} %"
    chart.add("0", [(spot.confidence, spot.right) for spot in known if spot.count >= _FEWEST])
    chart.add("1", [(0, 0), (1, 1)], show_dots=False)
    return Calibration(
        sure=sum(spot.confidence * spot.count for spot in known) / total,
        right=sum(spot.right * spot.count for spot in known) / total,
        svg=_svg(chart),
    )


def _looks() -> dict[str, object]:
    """What every chart has: no script, no legend (the template writes it), a size that its text is made for."""
    style = Style(label_font_size=11, major_label_font_size=11)
    return {"width": _WIDTH, "height": _HEIGHT, "margin": 6, "js": [], "show_legend": False, "style": style}


def _draw(columns: Sequence[Sequence[float | None]], epochs: Sequence[int]) -> Markup:
    chart = pygal.Line(
        **_looks(),
        show_dots=len(epochs) <= _DOTS_UP_TO,
        dots_size=2.5,
        show_minor_x_labels=False,
        truncate_label=-1,
        y_labels_major_every=1,
        max_scale=5,
        min_scale=3,
        formatter=lambda value: f"{value:.4g}",
        allow_interruptions=True,
    )
    chart.x_labels = [str(epoch) for epoch in epochs]
    chart.x_labels_major = [str(epoch) for epoch in _ticks(epochs)]
    for number, column in enumerate(columns):
        chart.add(str(number), list(column))
    return _svg(chart)


def _svg(chart: pygal.Graph) -> Markup:
    root = ET.fromstring(chart.render(is_unicode=True))  # noqa: S314  our own drawing, numbers only
    return Markup(ET.tostring(_bare(root), encoding="unicode"))  # noqa: S704  only tags and attributes listed above


def _ticks(epochs: Sequence[int]) -> list[int]:
    """First, last and a few between, on epochs that are drawn."""
    count = min(6, len(epochs))
    return [epochs[round(i * (len(epochs) - 1) / max(1, count - 1))] for i in range(count)]


def _bare(element: ET.Element) -> ET.Element:
    """A copy without namespaces, scripts, styles, tooltips or unknown attributes."""
    kept = {name: value for name, value in element.attrib.items() if name in _KEPT_ATTRIBUTES}
    copy = ET.Element(element.tag.removeprefix(_SVG), kept)
    copy.text = element.text if copy.tag == "text" else None
    for child in element:
        tag = child.tag.removeprefix(_SVG)
        if tag in _KEPT_TAGS and not _DROPPED_CLASSES & set(child.get("class", "").split()):
            bare = _bare(child)
            if tag != "g" or len(bare):
                copy.append(bare)
    return copy
