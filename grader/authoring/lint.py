"""What is weak, missing or untrue in a lab, found by reading it; and in its mutants' scores, where they are at hand.

An *error* wrongs somebody: a mistake that no check catches, a limit that the handout tells otherwise, a sentence that stays
English on a Chinese card. A *warning* is less than the lab could be. Each rule is a function from a lab to findings; each
kind of finding is described in docs/commands.md.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from grader.authoring.kit import handout_texts, make_kit, make_starter
from grader.authoring.messages import GAPS, MISSING, SUITES, lab_messages, languages, template, wrong
from grader.calibration.kept import kept_path, read_runs
from grader.calibration.trials import current, styles
from grader.errors import LabError
from grader.labs import CheckSpec, Lab, load_lab
from grader.labs.alternatives import read_alternatives
from grader.labs.starter import read_mutants
from grader.records import Evidence, Record, Tier
from grader.verification import Matrix, variants

#: Known mistakes are what proves a suite; fewer than this prove little.
ENOUGH_MUTANTS = 8
ENOUGH_ALTERNATIVES = 2
#: A hostile notebook can fake what is observed.
MOST_OBSERVED = 0.5
#: What only the grader has: a public suite that asks for it breaks on every laptop.
GRADERS_OWN = ("heldout", "threshold", "gpu")
N = TypeVar("N", bound=ast.AST)  # the def f[N] form needs Python 3.12


class Finding(Record, frozen=True):
    """Something that should be otherwise. ``kind`` is the rule's name."""

    level: Literal["error", "warning"]
    kind: str
    what: str
    where: str
    fix: str

    def __str__(self) -> str:
        return f"{self.level}: {self.where}: {self.what} ({self.fix}) [{self.kind}]"


def lint(folder: Path, matrix: Matrix | None = None) -> tuple[Finding, ...]:
    """Every finding about the lab in that folder, errors first. ``matrix``: its verification, if there is one."""
    try:
        lab = load_lab(folder)
    except LabError as error:
        return (finding_of(error, "lab"),)
    found: dict[tuple[str, str], Finding] = {}
    for rule in RULES:
        for finding in _findings(rule, lab):
            found.setdefault((finding.where, finding.what), finding)
    proved = _unproved(lab, matrix) if matrix is not None else ()
    return tuple(sorted((*found.values(), *proved), key=lambda finding: finding.level != "error"))


def _findings(rule: Callable[[Lab], Iterator[Finding]], lab: Lab) -> Iterator[Finding]:
    """What a rule finds. A file that it cannot read is a finding too: neither other rules nor other labs end with it."""
    try:
        yield from rule(lab)
    except LabError as error:
        yield finding_of(error, "lab")


def finding_of(error: LabError, kind: str) -> Finding:
    """A lab's error as a finding."""
    return Finding(level="error", kind=kind, what=error.what, where=error.where, fix=error.fix)


# ---------------------------------------------------------------- the notebooks


def _notebooks(lab: Lab) -> Iterator[Finding]:
    """The reference, the alternatives, and the mutants made of the reference."""
    if lab.is_kit:
        return
    try:
        variants(lab)
    except LabError as error:
        yield finding_of(error, "variant")
        return
    try:
        make_kit(lab) if lab.public_checks and (lab.folder / "handout.md").is_file() else make_starter(lab)
    except LabError as error:
        yield finding_of(error, "kit")
    mutants = len(read_mutants(lab.folder))
    if mutants < ENOUGH_MUTANTS:
        what, where = f"{mutants} mutants prove little", str(lab.folder / "mutants")
        yield _warning("few-mutants", what, where, f"write at least {ENOUGH_MUTANTS}, mistakes that students make")
    if len(read_alternatives(lab.folder)) < ENOUGH_ALTERNATIVES:
        fix = f"write at least {ENOUGH_ALTERNATIVES} correct solutions of another style"
        yield _warning(
            "few-alternatives", "the suite is proved against one style", str(lab.folder / "alternatives"), fix
        )


# ---------------------------------------------------------------- the suites


def _hints(lab: Lab) -> Iterator[Finding]:
    """A check without any advice; hints of its own for each thing that can be wrong are as good."""
    advised = {
        node.name
        for suite in SUITES
        for _, tree in _suite(lab, suite)
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and any(k.arg == "hint" for k in _nodes(node.body, ast.keyword))
    }
    for check in (*lab.checks, *lab.public_checks):
        if not check.hint.strip() and check.function not in advised:
            yield _warning("no-hint", f"the check '{check.id}' has no hint", _at(check), 'write hint="…" in @check')


def _evidence(lab: Lab) -> Iterator[Finding]:
    observed = sum(check.points for check in lab.checks if check.evidence is Evidence.OBSERVED)
    if lab.checks and observed > MOST_OBSERVED * lab.points:
        what = f"{observed:g} of {lab.points:g} points rest on what is observed only"
        fix = "ask functions, kept models or files: VERIFIED"
        yield _warning("observed-points", what, str(lab.folder / "hidden_tests"), fix)


def _contract(lab: Lab) -> Iterator[Finding]:
    """A name that nothing asks is work for nothing."""
    words = _words(lab, "student", *SUITES)
    for name, contract in lab.contract.items():
        if not any(map(words.fullmatch, (name, *contract.aliases))):
            what = f"nothing asks for '{name}'"
            yield _warning(
                "unused-contract", what, str(lab.folder / "lab.toml"), "ask for it in a check, or take it out"
            )
        if languages(lab) and not contract.description_zh:
            what = f"[contract.{name}] has no description_zh"
            yield _warning("no-translation", what, str(lab.folder / "lab.toml"), "translate its description")


def _thresholds(lab: Lab) -> Iterator[Finding]:
    where, words = str(lab.folder / "lab.toml"), _words(lab, "threshold", SUITES[0])
    for tier, table in lab.thresholds.items():
        for name in table:
            if not words.fullmatch(name):
                what = f"no check asks for the threshold '{name}' ({tier.value})"
                yield _warning("unused-threshold", what, where, "ask for it, or take it out")
        if table and not _calibrated(lab, tier):
            what = f"the thresholds of the {tier.value} data were not calibrated"
            yield _warning("uncalibrated", what, where, f"run `grader calibrate {lab.id} --tier {tier.value}`")
    known = {name for table in lab.thresholds.values() for name in table}
    for path, tree in _suite(lab, SUITES[0]):
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name(id="threshold"), args=[ast.Constant(value=str() as name), *_]):
                    if name not in known:
                        what, fix = f"the threshold '{name}' is not in lab.toml", "write it there, for each tier"
                        yield _error("no-threshold", what, f"{path}:{node.lineno}", fix)


def _calibrated(lab: Lab, tier: Tier) -> bool:
    """Whether a run is kept of a correct solution as it is now. Without a data set, one of either tier is of both."""
    right = [style for style in styles(lab) if not style.baseline]
    tiers = tuple(Tier) if lab.data == "none" else (tier,)
    return any(current(read_runs(kept_path(lab.folder, each), lab.id), right) for each in tiers)


def _public_suite(lab: Lab) -> Iterator[Finding]:
    where = lab.folder / "public_tests"
    if not lab.public_checks:
        fix = "write checks of the form of the work"
        yield _warning("no-public-suite", "students cannot check themselves", str(where), fix)
    for path, tree in _suite(lab, SUITES[1]):
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for name in {arg.arg for arg in node.args.args} & set(GRADERS_OWN):
                    what, fix = (
                        f"{node.name} asks for `{name}`, which only the grader has",
                        "make up its inputs in the file",
                    )
                    yield _error("public-suite", what, f"{path}:{node.lineno}", fix)


def _suite(lab: Lab, suite: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((lab.folder / suite).glob("test_*.py")):
        yield path, ast.parse(path.read_bytes())


def _words(lab: Lab, fixture: str, *suites: str) -> re.Pattern[str]:
    """What matches each name that the suites ask of that fixture, be it getattr(student, f"{name}_history")."""
    words = {word for suite in suites for _, tree in _suite(lab, suite) for word in _asked(tree, fixture)}
    return re.compile("|".join(".+".join(map(re.escape, GAPS.split(word))) for word in sorted(words)) or "(?!)")


def _asked(tree: ast.Module, fixture: str) -> Iterator[str]:
    """Its attributes, and the strings of calls that it makes or is given to.

    Where a name is computed (getattr(student, name)), every string of the suite may be it.
    """
    names = _names(tree, fixture)
    computed = False
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in names:
                yield attribute
            case ast.Call(func=func, args=args, keywords=keywords):
                values = [*args, *(keyword.value for keyword in keywords)]
                given = any(isinstance(value, ast.Name) and value.id in names for value in values)
                if given or _root(func) in names:
                    yield from _texts(values)
                called = func.id if isinstance(func, ast.Name) else ""
                word = args[1:2] if called == "getattr" and given else args[:1] if called in names else []
                computed = computed or any(not template(value) for value in word)
    if computed:
        yield from _texts([tree])


def _texts(roots: Sequence[ast.AST]) -> Iterator[str]:
    return (text for root in roots for node in ast.walk(root) if (text := template(node)) and GAPS.sub("", text))


def _names(tree: ast.Module, fixture: str) -> set[str]:
    """The names a fixture goes by: its own, and those of the parameters of helpers that are given it."""
    functions = {node.name: [arg.arg for arg in node.args.args] for node in _nodes([tree], ast.FunctionDef)}
    names, before = {fixture}, 0
    while len(names) > before:
        before = len(names)
        for call in _nodes([tree], ast.Call):
            parameters = functions.get(call.func.id, []) if isinstance(call.func, ast.Name) else []
            pairs = [*zip(parameters, call.args, strict=False), *((kw.arg, kw.value) for kw in call.keywords)]
            names |= {
                name
                for name, value in pairs
                if name in parameters and isinstance(value, ast.Name) and value.id in names
            }
    return names


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _nodes(roots: Sequence[ast.AST], kind: type[N]) -> Iterator[N]:
    return (node for root in roots for node in ast.walk(root) if isinstance(node, kind))


# ---------------------------------------------------------------- what students read


def _handouts(lab: Lab) -> Iterator[Finding]:
    """Each handout tells the limits of the spec: a student who believes it must not be cut off."""
    paths = handout_texts(lab)
    if lab.folder / "handout.md" not in paths:
        yield _error("no-handout", "there is no handout", str(lab.folder / "handout.md"), "tell students what to do")
    if lab.folder / "handout.zh.md" not in paths:
        where = str(lab.folder / "handout.zh.md")
        yield _warning("no-translation", "there is no Chinese handout", where, "translate handout.md")
    seconds, memory = lab.limits.wall_s, lab.limits.memory_mb
    for path, content in paths.items():
        text = " ".join(content.split())
        minutes = rf"|(?<!\d){seconds / 60:g} ?(minutes?\b|分钟)" if seconds % 60 == 0 else ""
        if not re.search(rf"(?<![\d,.]){seconds:g} ?(seconds?\b|s\b|秒){minutes}", text):
            yield _error(
                "budget", f"it does not tell the {seconds:g} seconds of the spec", str(path), "correct the time"
            )
        sizes = (f"{memory / 1024:g} Gi?B", f"{memory:,} Mi?B", f"{memory} Mi?B")
        if not any(re.search(rf"(?<![\d,.]){size}\b", text, re.ASCII) for size in sizes):
            what = f"it does not tell the {memory / 1024:g} GB of the spec"
            yield _error("budget", what, str(path), "correct the memory")


def _translations(lab: Lab) -> Iterator[Finding]:
    """A language with a handout or a catalogue has everything that the suites say."""
    for language in languages(lab):
        path = lab.folder / "locale" / f"{language}.po"
        found = wrong(path, lab_messages(lab, language))
        missing = [text for text in found if text.startswith(MISSING)]
        stale = [text for text in found if text not in missing]
        if missing:
            yield _error("translation", _first(missing), str(path), "add its translation")
        if stale:
            yield _warning("stale-translation", _first(stale), str(path), "take it out")


def _first(texts: Sequence[str]) -> str:
    return texts[0] + (f", and {len(texts) - 1} more" if len(texts) > 1 else "")


# ---------------------------------------------------------------- what was proved


def _unproved(lab: Lab, matrix: Matrix) -> Iterator[Finding]:
    checks = {check.id: check for check in lab.checks}
    for name in matrix.unseen:
        what = f"no mutant fails the check '{name}'"
        yield _error("unseen-check", what, _at(checks[name]), "write a mutant that must")
    for row in matrix.rows:
        if not row.ok and not row.unproved:
            yield _error("variant", row.why, f"{lab.folder}: {row.name}", f"see `grader verify {lab.id}`")


def _at(check: CheckSpec) -> str:
    return f"{check.file}:{check.line}"


def _error(kind: str, what: str, where: str, fix: str) -> Finding:
    return Finding(level="error", kind=kind, what=what, where=where, fix=fix)


def _warning(kind: str, what: str, where: str, fix: str) -> Finding:
    return Finding(level="warning", kind=kind, what=what, where=where, fix=fix)


RULES: tuple[Callable[[Lab], Iterator[Finding]], ...] = (
    _notebooks,
    _hints,
    _evidence,
    _contract,
    _thresholds,
    _public_suite,
    _handouts,
    _translations,
)
