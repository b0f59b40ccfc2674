"""Run a suite: pytest on the lab's own files, in this trusted process, with our fixtures; each check's end is an outcome.

How pytest is started, and kept for the next submission, is told in `collected`.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grader.checks.collected import Collected
from grader.checks.gpu import Gpu
from grader.checks.marks import CheckFailed, Current, Mark, NotAssessable, current, running
from grader.checks.student import Bench, Student
from grader.errors import LabError
from grader.heldout.chance import seed_of
from grader.labs import CheckSpec, Lab
from grader.records import CheckResult, Evidence, Flag, Outcome, Record, Threshold, Tier
from grader.session import TapeMiss

FIXTURES = frozenset({"student", "gpu", "heldout", "chance", "tier", "threshold"})


class Judged(Record, frozen=True):
    """The outcomes of one suite, in the suite's order. ``missed``: a replay met a question that is not on the tape."""

    results: tuple[CheckResult, ...]
    flags: tuple[Flag, ...] = ()
    missed: bool = False
    seconds: float = 0.0


class Suites:
    """The suites that this process judges by, each with a pytest that waits for the next submission."""

    def __init__(self) -> None:
        self._kept: dict[Path, tuple[_Plugin, Collected]] = {}

    def take(self, folder: Path) -> tuple[_Plugin, Collected]:
        """The pytest of that suite: the one that waits, or another. It is the caller's until `give`."""
        found = self._kept.pop(folder, None)
        if found is None:
            plugin = _Plugin()
            found = plugin, Collected(folder, plugin, FIXTURES)
        return found

    def give(self, plugin: _Plugin, collected: Collected) -> None:
        """Take it back for the next submission, if it may be used again."""
        plugin.forget()
        if collected.reusable:
            self._kept[collected.folder] = plugin, collected
        else:
            collected.close()

    def close(self) -> None:
        """End those that wait."""
        while self._kept:
            self._kept.popitem()[1][1].close()


def judge(
    lab: Lab,
    bench: Bench,
    heldout: Any,
    tier: Tier,
    *,
    suite: str = "hidden_tests",
    specs: tuple[CheckSpec, ...] | None = None,
    seed: int = 0,
    suites: Suites | None = None,
) -> Judged:
    """Judge one run by one suite. Raises LabError when the suite itself cannot be run.

    ``seed`` is what the ``chance`` fixture draws from: secret for a hidden suite, always the same for a public one.
    ``suites`` keeps what was started for the next run that is judged in this process.
    """
    start = time.perf_counter()
    checks = lab.checks if specs is None else specs
    folder = (lab.folder / suite).absolute()
    kept = suites if suites is not None else Suites()
    plugin, collected = kept.take(folder)
    try:
        plugin.begin(lab, bench, heldout, tier, checks, seed)
        problem = collected.run(seed)
        results, flags, missed, errors = plugin.results, tuple(plugin.flags), plugin.missed, plugin.errors
    finally:
        kept.give(plugin, collected)
        if suites is None:
            kept.close()
    if problem or set(results) != {spec.id for spec in checks}:
        why = next((line for line in (*errors, *problem.splitlines()) if line.strip()), "checks are missing in it")
        what = f"the suite cannot be run: {why[:300]}"
        raise LabError(what, where=str(lab.folder / suite), fix=f"run `grader verify {lab.id}`")
    return Judged(
        results=tuple(results[spec.id] for spec in checks),
        flags=flags,
        missed=missed,
        seconds=time.perf_counter() - start,
    )


class _Plugin:
    """Fixtures, and the outcome of each check of the run that is being judged."""

    def begin(
        self, lab: Lab, bench: Bench, heldout: Any, tier: Tier, specs: tuple[CheckSpec, ...], seed: int = 0
    ) -> None:
        self.lab, self.bench, self._heldout, self._tier, self._seed = lab, bench, heldout, tier, seed
        self.specs = {spec.id: spec for spec in specs}
        self.results: dict[str, CheckResult] = {}
        self.flags: list[Flag] = []
        self.errors: list[str] = []
        self.missed = False

    def forget(self) -> None:
        """Let go of the run that was judged."""
        vars(self).clear()

    @pytest.fixture
    def student(self) -> Student:
        return Student(self.bench)

    @pytest.fixture
    def gpu(self) -> Gpu:
        return Gpu(self.bench)

    @pytest.fixture
    def heldout(self) -> Any:
        if self._heldout is None:
            raise LabError(f"lab {self.lab.id} has no held-out data", where="lab.toml", fix="set data = …")
        return self._heldout

    @pytest.fixture
    def chance(self, request: pytest.FixtureRequest) -> np.random.Generator:
        """Random numbers that a notebook cannot know: from the course secret, the lab, the submission and the check.

        Each check has its own, so that changing one leaves the questions of the others on the tape.
        """
        mark: Mark | None = getattr(getattr(request.node, "obj", None), "__grader_check__", None)
        return np.random.Generator(np.random.PCG64(seed_of(str(self._seed), "chance", mark.id if mark else "")))

    @pytest.fixture
    def tier(self) -> Tier:
        return self._tier

    @pytest.fixture
    def threshold(self) -> Callable[[str], Threshold]:
        def named(name: str) -> Threshold:
            current().threshold = name
            return self.lab.threshold(self._tier, name)

        return named

    @pytest.hookimpl
    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.errors += str(report.longrepr).strip().splitlines()[-1:]

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: Any) -> None:
        self.pytest_collectreport(report)

    @pytest.hookimpl(wrapper=True)
    def pytest_pyfunc_call(self, pyfuncitem: Any) -> Iterator[None]:
        """Around each check: gather what it says, turn its end into an outcome. Never lets an exception out."""
        mark: Mark | None = getattr(pyfuncitem.obj, "__grader_check__", None)
        if mark is None or mark.id not in self.specs:
            raise LabError(
                f"{pyfuncitem.name} is not a check", where=str(pyfuncitem.path), fix="decorate it with @check"
            )
        start = time.perf_counter()
        blocked = self._blocked_by(mark)
        unasked = self._not_assessable(blocked)
        with running(mark) as record:
            if (
                unasked
            ):  # out of the maximum, like the check it needs: that cannot be decided here is not the student's loss
                outcome = self._result(mark, record, Outcome.SKIPPED, rationale=unasked)
                pyfuncitem.obj = pyfuncitem._obj = _nothing
                yield
            elif blocked:
                outcome = self._result(mark, record, Outcome.SKIPPED, rationale="blocked", blocked_by=blocked)
                pyfuncitem.obj = pyfuncitem._obj = _nothing
                yield
            else:
                try:
                    yield
                    outcome = self._ended(mark, record)
                except BaseException as error:
                    if isinstance(error, KeyboardInterrupt | SystemExit):
                        raise
                    outcome = self._raised(mark, record, error)
        import msgspec

        self.results[mark.id] = msgspec.structs.replace(outcome, seconds=time.perf_counter() - start)
        self.flags += record.flags
        return True  # type: ignore[return-value]  # a hook wrapper returns the hook's result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: Any) -> Iterator[None]:
        """A fixture that fails is the author's or ours: ERRORED, and the other checks go on."""
        try:
            yield
        except Exception as error:
            mark = getattr(item.obj, "__grader_check__", None)
            if mark is not None:
                with running(mark) as record:
                    self.results[mark.id] = self._raised(mark, record, error)
            raise

    def _blocked_by(self, mark: Mark) -> str:
        for need in mark.needs:
            result = self.results.get(need)
            if result is None or (result.outcome is not Outcome.PASSED and result.score <= 0):
                return need
        return ""

    def _not_assessable(self, need: str) -> str:
        """Why a needed check could not be decided here, or ''."""
        result = self.results.get(need)
        if result is None or result.outcome is not Outcome.SKIPPED or result.blocked_by:
            return ""
        return f"it needs {need}, which cannot be decided here: {result.rationale}"

    def _ended(self, mark: Mark, record: Current) -> CheckResult:
        if record.evidence is None:
            staff = "the check passed without asking anything: points need evidence"
            return self._result(mark, record, Outcome.ERRORED, staff_note=staff)
        if record.evidence.rank < mark.evidence.rank:
            return self._result(
                mark,
                record,
                Outcome.FAILED,
                rationale="not verified",
                found=f"{record.found or 'the answers'} (only observed, not verified)",
                expected="a model that reloads without your own classes",
                hint="Build the model from Keras layers (Sequential or functional), so that it can be checked in a clean room.",
            )
        fraction = 1.0 if record.fraction is None else record.fraction
        outcome = Outcome.PASSED if fraction >= 1.0 else Outcome.FAILED
        return self._result(mark, record, outcome, score=mark.points * fraction)

    def _raised(self, mark: Mark, record: Current, error: BaseException) -> CheckResult:
        match error:
            case TapeMiss():
                self.missed = True
                return self._result(mark, record, Outcome.ERRORED, staff_note=str(error))
            case NotAssessable():
                return self._result(mark, record, Outcome.SKIPPED, rationale=str(error))
            case CheckFailed():
                return self._result(
                    mark,
                    record,
                    Outcome.FAILED,
                    found=error.found,
                    expected=error.expected,
                    hint=error.hint,
                    staff_note=error.staff,
                )
            case AssertionError():
                return self._result(
                    mark, record, Outcome.FAILED, found=str(error) or "the answer is not what was asked for"
                )
            case _:
                text = "".join(traceback.format_exception(error))[-4000:]
                return self._result(mark, record, Outcome.ERRORED, staff_note=text)

    def _result(self, mark: Mark, record: Current, outcome: Outcome, **fields: Any) -> CheckResult:
        spec = self.specs[mark.id]
        notes = [note for note in (*record.staff, fields.pop("staff_note", "")) if note]
        values: dict[str, Any] = {"found": record.found, "expected": record.expected, "hint": record.hint, "score": 0.0}
        values |= {key: value for key, value in fields.items() if value != ""}
        if outcome in (Outcome.FAILED, Outcome.SKIPPED) and not values["hint"]:
            values["hint"] = mark.hint
        if outcome is Outcome.PASSED:
            values["hint"] = ""
        return CheckResult(
            id=mark.id,
            description=spec.description,
            points=mark.points,
            outcome=outcome,
            required=mark.evidence,
            evidence=record.evidence,
            figure=record.figure,
            staff_note="\n".join(notes),
            measured=tuple(record.measured),
            **values,
        )


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Stands in for a check that is blocked."""


def unrun(specs: tuple[CheckSpec, ...], why: str, outcome: Outcome = Outcome.FAILED) -> tuple[CheckResult, ...]:
    """Results of a suite that could not be asked at all: nothing earned, nothing left out of the maximum."""
    return tuple(
        CheckResult(
            id=spec.id,
            description=spec.description,
            points=spec.points,
            score=0.0,
            outcome=outcome,
            required=spec.evidence,
            evidence=Evidence.OBSERVED if outcome is Outcome.FAILED else None,
            rationale=why,
            found=why,
        )
        for spec in specs
    )
