"""The grader from Python: what `import grader` gives. Thin, typed functions over what the commands use.

A place may be text or a path, a tier and a level may be text. Everything comes back as a frozen record, and whatever goes
wrong is a `grader.errors.GraderError` that says what, where and what to do. Settings are those of the command line:
``course.toml`` here (or ``course=``), the environment, then arguments.

What a function needs is imported when it is called: a notebook that begins with ``from grader import check`` must not wait.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grader.batch import Event, Summary
    from grader.labs import Lab
    from grader.records import Level, Tier
    from grader.selfcheck import SelfCheck
    from grader.settings import Settings
    from grader.verification import Matrix

Place = str | os.PathLike[str]


def _ignore(event: Event) -> None:
    """Nobody listens."""


def load_lab(lab: Place, *, course: Place | None = None) -> Lab:
    """The lab of that id, or in that folder: read and validated, and nothing of it run.

    Raises LabError where it is wrong, UsageError where there is none.
    """
    from grader.labs import find_labs, lab_ids, select
    from grader.labs import load_lab as load

    if not _is_id(lab):
        return load(Path(lab))
    labs = _settings(course).labs
    if lab in lab_ids(labs):
        return load(labs / lab)
    return select(find_labs(labs, []), [str(lab)])[str(lab)]  # raises, and names the nearest


def grade(  # noqa: PLR0913 - keywords, one for each option of the command
    paths: Place | Iterable[Place],
    *,
    lab: str | None = None,
    out: Place = "report_cards",
    jobs: int | None = None,
    tier: Tier | str | None = None,
    min_level: Level | str | None = None,
    data: Place | None = None,
    fresh: bool = False,
    course: Place | None = None,
    on_event: Callable[[Event], None] = _ignore,
) -> Summary:
    """Grade notebooks, folders or zips as `grader grade` does, write the cards, and tell how it went.

    What is kept in ``out`` and unchanged is not done again, unless ``fresh``.

    Inputs and labs that had to be left out stand in the summary's ``errors``; where nothing is left to grade, the first of
    them is raised. The gradebook is left alone: `grader gradebook record` takes the scores over.
    """
    import msgspec

    from grader.batch import Plan
    from grader.batch import grade as grade_batch
    from grader.confine import hide_memory
    from grader.errors import GraderError, LabError, UsageError
    from grader.labs import lab_ids
    from grader.labs import load_lab as load
    from grader.shelf import Shelf
    from grader.submissions import Submission, collect

    settings = _settings(course, jobs=jobs, min_level=min_level, data=data)
    chosen = [Path(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    intake = collect(chosen, lab_ids(settings.labs), lab)
    errors: list[GraderError] = list(intake.errors)
    labs: dict[str, Lab] = {}
    for name in dict.fromkeys(item.lab for item in intake.submissions):
        try:
            labs[name] = load(settings.labs / name)
        except LabError as error:
            errors.append(error)
    submissions = Shelf(Submission, (item for item in intake.submissions if item.lab in labs))
    if not submissions:
        raise errors[0] if errors else UsageError("holds nothing to grade", where=", ".join(map(str, chosen)))
    hide_memory()  # the course's secret, labels and thresholds
    plan = Plan(
        submissions=submissions,
        labs=labs,
        settings=settings,
        out=Path(out),
        jobs=settings.jobs,
        tier=_tier(tier),
        fresh=fresh,
    )
    summary = grade_batch(plan, on_event)
    return msgspec.structs.replace(summary, errors=(*summary.errors, *errors))


def check(
    what: Place, *, lab: str | None = None, out: Place = "check_cards", course: Place | None = None
) -> SelfCheck | None:
    """Check one's own work by the public checks, as `grader check` does: runs a notebook *without a sandbox*.

    Inside a running notebook ``check("iris")``, with the id of a lab, asks the notebook itself, shows the result and gives
    None. Training is recorded from the import of this function on.
    """
    from grader.errors import UsageError
    from grader.labs import lab_ids
    from grader.selfcheck import check as check_here
    from grader.selfcheck import check_notebook
    from grader.submissions import collect

    if _is_id(what):
        check_here(str(what))
        return None
    settings, path = _settings(course), Path(what)
    if not path.is_file():
        raise UsageError("is not a file", where=str(path), fix="name one notebook")
    if lab is None:
        intake = collect([path], lab_ids(settings.labs), None)
        if messages := intake.messages():
            raise UsageError(messages[0])
        lab = intake.submissions[0].lab
    return check_notebook(path, load_lab(lab, course=course), settings, Path(out))


def verify(
    lab: Lab | Place,
    *,
    jobs: int | None = None,
    tier: Tier | str | None = None,
    out: Place | None = None,
    data: Place | None = None,
    mutants: bool = True,
    course: Place | None = None,
    on_event: Callable[[Event], None] = _ignore,
) -> Matrix:
    """Prove a lab as `grader verify` does: reference, alternatives, starter and mutants score what they must.

    The matrix's ``ok`` says whether they do. ``out`` keeps the cards; without ``mutants`` only what is right is graded.
    """
    from grader.confine import hide_memory
    from grader.labs import Lab
    from grader.verification import verify as prove

    settings = _settings(course, jobs=jobs, data=data)
    proved = lab if isinstance(lab, Lab) else load_lab(lab, course=course)
    hide_memory()
    return prove(
        proved,
        settings,
        jobs=settings.jobs,
        tier=_tier(tier),
        out=None if out is None else Path(out),
        mutants=mutants,
        on_event=on_event,
    )


def _settings(course: Place | None, **overrides: Any) -> Settings:
    from grader.settings import load_settings

    here = Path("course.toml")
    file = Path(course) if course is not None else here if here.is_file() else None
    return load_settings(file, os.environ, overrides)


def _tier(tier: Tier | str | None) -> Tier | None:
    from grader.errors import UsageError
    from grader.records import Tier

    try:
        return None if tier is None else Tier(tier)
    except ValueError:
        raise UsageError(f"{tier!r} is no tier of the data", fix="full or lite") from None


def _is_id(what: Place) -> bool:
    """Whether this is a lab's id: it has no dot and no slash, and a folder of that name is ``./iris``."""
    return isinstance(what, str) and re.fullmatch(r"\w+", what) is not None
