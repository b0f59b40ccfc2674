"""Brings the catalogues up to date with the source: ``python tools/messages.py [--check]`` (``make messages``).

A sentence that is new in the source enters every catalogue untranslated, one that is gone leaves it, translations stay.
``--check`` writes nothing, names what is missing or left over, and ends with 1 if anything is.

What has to be translated is read from the source and never kept by hand:

* ``grader/locale/<code>.po``: what templates and modules of exports, reports and selfcheck mark with ``_`` and ``ngettext``; and,
  with the context "sentence", what ``SENTENCES`` lists: modules whose f-strings end up in a verdict.
* ``labs/<id>/locale/<code>.po``: what ``grader.authoring.messages`` reads of a lab.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.extract import extract_from_dir

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from grader.authoring.messages import Messages, lab_messages, languages, sentences, update, wrong
from grader.labs import find_labs
from grader.reports.phrases import CONTEXT, JOINS

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "grader"
#: Modules that say something to students, and which of their functions and classes do (none named: all of them). Of
#: ``checks`` every module does; those that are not named here with all they say.
SENTENCES: dict[str, tuple[str, ...]] = {
    "worker.py": ("gpus",),
    "checks/judge.py": ("_not_assessable", "_ended", "_raised"),
    "checks/student.py": (
        "_failure",
        "_asked",
        "require_budget",
        "architecture",
        "_deliver",
        "first",
        "deliver",
        "ask",
    ),
    "driver/notebook.py": ("_cell", "_report_cell", "send_files", "_read"),
    "exports/feedback.py": ("account",),
    "gpu.py": ("_blindness",),
    "grading.py": ("over_source_limit", "deferred", "_runs", "_received", "_notes"),
    "probe/evaluate.py": ("_resolve", "evaluate"),
    "probe/helpers.py": ("Exported", "_read_checkpoint", "_member"),
    "probe/keep.py": ("keep", "architecture", "_foreign"),
    "records.py": ("Ending",),
    "runner.py": ("broke", "_end"),
    "selfcheck/fresh.py": ("_data_notes", "_lies_beside", "WITHOUT_SANDBOX", "NOT_CHECKED"),
    "selfcheck/live.py": ("NOT_RECORDED", "IN_PROCESS"),
    "selfcheck/show.py": ("HINT_ONLY", "not_checked"),
    "submissions/archives.py": ("TooLargeError",),
    "submissions/intake.py": ("_submission",),
    "submissions/notebooks.py": (),
}
#: Modules of ``checks`` that say nothing to a student.
SILENT = frozenset({"checks/hidden.py", "checks/marks.py"})


# ---------------------------------------------------------------- what the source says


def own_messages() -> Messages:
    """The messages of grader/locale."""
    found: Messages = {}
    for folder in ("exports", "reports", "selfcheck"):
        marked = extract_from_dir(
            PACKAGE / folder,
            method_map=[("**.py", "python"), ("**/templates/**.html", "jinja2")],
            options_map={},
            keywords={"_": None, "gettext": None, "ngettext": (1, 2)},
        )
        for name, _, message, _, _ in marked:
            found.setdefault((None, message), []).append((f"{folder}/{name}", 0))
    checks = {f"checks/{path.name}": () for path in sorted((PACKAGE / "checks").glob("*.py"))}
    for name, functions in (checks | SENTENCES).items():
        if name in SILENT:
            continue
        for text in sentences((PACKAGE / name).read_text(encoding="utf-8"), functions):
            found.setdefault((CONTEXT, text), []).append((name, 0))
    for join in JOINS:
        found.setdefault((CONTEXT, join), []).append(("reports/phrases.py", 0))
    return found


# ---------------------------------------------------------------- the catalogues


def catalogues() -> Iterator[tuple[Path, Messages]]:
    """Every catalogue and what belongs into it. A lab with a translated handout has one, whether it exists or not."""
    for path in sorted((PACKAGE / "locale").glob("*.po")):
        yield path, own_messages()
    for lab in find_labs(ROOT / "labs").values():
        for language in languages(lab):
            yield lab.folder / "locale" / f"{language}.po", lab_messages(lab, language)


def main() -> int:
    parser = argparse.ArgumentParser(description="Brings the catalogues up to date with the source.")
    parser.add_argument("--check", action="store_true", help="write nothing; say what is missing or left over")
    options = parser.parse_args()
    failed = 0
    for path, wanted in catalogues():
        if not options.check:
            update(path, wanted)
        lines = wrong(path, wanted)
        failed += len(lines)
        print(f"{path.relative_to(ROOT)}: {len(wanted)} messages, {len(lines)} to do")
        for line in lines[:20]:
            print(f"    {line[:160]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
