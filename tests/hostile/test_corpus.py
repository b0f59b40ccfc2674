"""Every attack that is a notebook, sent through intake and a worker like any student's, and an honest student after it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
import time
from pathlib import Path

import msgspec
import pytest

from grader import store, wire
from grader.owntime import most_s
from grader.records import Ending, Level, Outcome, Verdict
from grader.runner import GRACE_S, Job, run_notebook
from grader.sandbox.conformance import descendants
from grader.submissions import collect
from grader.worker import Task
from tests.hostile import weak
from tests.hostile.attacks import ALONE, AT_STAKE, GIANT, HONEST, LABS, PROLOGUE, Attack, listed, load, written
from tests.hostile.weak import LEVEL, SPARED

ROOT = Path(__file__).resolve().parents[2]
ATTACKER, FRIEND, HONEST_STUDENT = "student-66", "student-67", "student-01"
#: What saved models try to make when they are loaded.
MARK = Path("/tmp/hostile-was-here")
#: Above the notebook's time on the wall: interrupting, killing, sending files, asking, and an honest run after it.
AFTER_S = 60
ATTACKS = load()


def cases():
    for attack in ATTACKS:
        marks = [pytest.mark.attack(attack.id, attack.does)]
        name = "-".join(filter(None, (attack.id, attack.way.replace(" ", "_"))))
        for level in (Level.L3, Level.L2) if LEVEL is None else (LEVEL,):
            if LEVEL is not None:
                if attack.id not in SPARED:
                    yield pytest.param(attack, level, id=f"{name}-{level.name}", marks=marks)
                continue
            if level is Level.L2 and (attack.slow or attack.level > level or attack.id[0] not in "FJ"):
                continue  # where the sandbox has a part in it, and the machine would not suffer
            slow = [] if level is Level.L3 and not attack.slow and attack.id[0] in "AF" else [pytest.mark.slow]
            yield pytest.param(attack, level, id=f"{name}-{level.name}", marks=marks + slow)


def notebook(*sources: str, metadata=None, stored=(), markdown=()) -> str:
    """A notebook of these code cells; the last one brings the ``stored`` outputs."""
    cells = [
        {"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None}
        for source in sources
    ]
    if stored:
        cells[-1] |= {"outputs": list(stored), "execution_count": 1}
    before = [{"cell_type": "markdown", "metadata": {}, **cell} for cell in markdown]
    made = {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata or {}, "cells": before + cells}
    pieces = re.compile(r"A_PIECE_(\d)")
    text = pieces.sub(lambda found: GIANT[1500 * int(found[1]) :][:1500], json.dumps(made))
    return text.replace("A_GIANT_LITERAL", GIANT)


def honest(lab: str, seed: int = 1) -> tuple[str, ...]:
    return PROLOGUE, HONEST[lab].replace("HONEST_SEED", str(seed))


def tree(*folders: Path) -> str:
    """What lies below these folders, and when its files were last changed. Importing puts bytecode into a fresh checkout."""
    found = hashlib.sha256()
    for path in sorted(path for folder in folders for path in (folder, *folder.rglob("*"))):
        if "__pycache__" not in path.parts:
            status = path.lstat()
            changed = "" if path.is_dir() else f"{status.st_size} {status.st_mtime_ns}"
            found.update(f"{path} {changed} {status.st_mode}\n".encode())
    return found.hexdigest()


def graded(worker, submission) -> Verdict:
    def tell(text: str) -> None:
        if text == "judging" and LEVEL is Level.L0 and submission.student == ATTACKER:
            # In no sandbox the notebook itself may make it. What a saved model does when it is loaded comes later.
            MARK.unlink(missing_ok=True)

    worker(Task(submission=submission), tell)
    return msgspec.json.decode(store.result_path(Path(worker.factory.out), submission).read_bytes(), type=Verdict)


@pytest.mark.parametrize(("attack", "level"), list(cases()))
def test_an_attack_wins_nothing_and_costs_nobody_else(attack, level, proof, make_worker, as_level, tmp_path, request):
    """No check at stake is passed, the others are, the next student is graded as ever, and nothing is left behind."""
    as_level(level)
    level = min(level, proof[1].level)
    request.node.user_properties.append(("level", level.name))
    worker = make_worker(attack.lab, 20 if attack.lab == "net" else 21, level)
    handed_in = tmp_path / "class"
    middle = honest(attack.lab)[1:] if attack.honest_model else ()
    cells = (PROLOGUE, *middle, *attack.cells)
    brings = {"metadata": attack.metadata, "stored": attack.stored, "markdown": attack.markdown}
    files = [(ATTACKER, notebook(*cells, **brings)), (HONEST_STUDENT, notebook(*honest(attack.lab)))]
    if attack.twice:  # other bytes: nobody else's run, and another draw
        files.append((FRIEND, notebook(*cells, "# from a friend", **brings)))
    for student, text in files:
        (handed_in / student).mkdir(parents=True)
        (handed_in / student / f"{attack.lab}.ipynb").write_text(text, "utf-8")
    intake = collect([handed_in], {attack.lab}, None)
    assert not intake.errors
    by_student = {submission.student: submission for submission in intake.submissions}
    neighbour = Neighbour(make_worker("plain", 22, level)) if attack.beside else contextlib.nullcontext([])
    worker._zygote()
    processes = len(descendants())
    watched = (handed_in, LABS, ROOT / "grader", worker.factory.mounts)
    before = tree(*watched)

    begun = time.monotonic()
    with neighbour as endings:
        verdict = graded(worker, by_student[ATTACKER])
    seconds = time.monotonic() - begun
    if attack.twice:
        assert verdict.ending is Ending.OK, verdict.ending_detail
        verdict = graded(worker, by_student[FRIEND])
    request.node.user_properties.append(("outcome", told(verdict)))

    fair = graded(worker, by_student[HONEST_STUDENT])
    until = time.monotonic() + 10
    while len(descendants()) > processes and time.monotonic() < until:
        time.sleep(0.05)
    if level < attack.level:  # it may gain what a card has no points for
        gains = gained(verdict, fair, endings, processes, untouched=tree(*watched) == before)
        request.node.user_properties[-1] = ("outcome", f"{told(verdict)}; {gains}")
        assert not won(attack, verdict)
        return
    judge(attack, verdict)
    assert seconds < most_s(verdict.limits.wall_s) + AFTER_S
    assert verdict.timings.get("own", 0.0) < verdict.limits.wall_s + GRACE_S  # nothing where it was refused unread
    assert endings == ([Ending.OK] if attack.beside else [])
    assert (fair.ending, fair.score, fair.needs_attention, fair.flags) == (Ending.OK, 20.0, (), ()), fair
    assert tree(*watched) == before
    assert not MARK.exists()
    assert len(descendants()) <= processes
    kept = store.run_folder(Path(worker.factory.out), by_student[ATTACKER])
    assert not attack.unseen or not [path for path in kept.rglob("*") if holds(path, attack.unseen)]


def holds(path: Path, word: str) -> bool:
    return path.is_file() and word.encode() in path.read_bytes()


def won(attack: Attack, verdict: Verdict) -> set[str]:
    """Checks at stake that it passed or has points for, and should not."""
    at_stake = [check for check in verdict.checks if check.id in AT_STAKE[attack.lab]]
    return {check.id for check in at_stake if check.outcome is Outcome.PASSED or check.score} - set(attack.passes)


def gained(verdict: Verdict, fair: Verdict, endings: list[Ending], processes: int, *, untouched: bool) -> str:
    """What an attack got at a level that does not stop it."""
    found = [check.found for check in verdict.checks if check.id == "contained" and check.outcome is not Outcome.PASSED]
    if MARK.exists():
        found.append(f"ran code outside of the notebook as user {MARK.stat().st_uid}")
        MARK.unlink()
    daemons = weak.strangers() if LEVEL is Level.L0 else []
    left = len(descendants()) - processes + len(daemons)
    if left > 0:
        found.append(f"left {left} processes")
    for daemon in daemons:
        daemon.kill()
    if not untouched:
        found.append("changed files of the host")
    if set(endings) - {Ending.OK}:
        found.append(f"the run beside it: {endings}")
    if (fair.ending, fair.score) != (Ending.OK, 20.0):
        found.append(f"the next student: {told(fair)}")
    return "; ".join(found) or "gained nothing"


def judge(attack: Attack, verdict: Verdict) -> None:
    outcomes = {check.id: check.outcome for check in verdict.checks}
    told = f"{verdict.ending_detail}\n" + "\n".join(
        f"{c.id} {c.outcome}: {c.found} {c.staff_note}" for c in verdict.checks
    )
    assert verdict.ending.value in attack.ending, told
    assert not won(attack, verdict), told
    lost = {name for name in ALONE[attack.lab] if outcomes[name] is not Outcome.PASSED}
    # Below L2 a notebook may have rights that keep it from harming itself (J16).
    assert lost <= set(attack.costs) if LEVEL is not None else lost == set(attack.costs), told
    assert Outcome.ERRORED not in outcomes.values(), told
    assert not verdict.needs_attention
    assert attack.found in told
    assert set(attack.flags) <= {flag.kind for flag in verdict.flags}, verdict.flags


def told(verdict: Verdict) -> str:
    flags = "".join(f", flag {kind!r}" for kind in sorted({flag.kind for flag in verdict.flags}))
    return f"{verdict.ending.value}, {verdict.score:g}/{verdict.max_score:g}{flags}"


class Neighbour:
    """An honest run in another zygote while the attack goes on; gives the endings of what ran there."""

    def __init__(self, worker) -> None:
        self.endings: list[Ending] = []
        cells = tuple(wire.SourceCell("code", text) for text in (*honest("plain"), "import time; time.sleep(3)"))
        self.job = Job(cells=cells, seed=1, limits=worker.factory.prepared["plain"].limits)
        self.zygote = worker._zygote()
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        with run_notebook(self.zygote, self.job) as run:
            self.endings.append(run.facts.ending)

    def __enter__(self) -> list[Ending]:
        self.thread.start()
        return self.endings

    def __exit__(self, *_) -> None:
        self.thread.join(120)


def test_every_attack_of_the_list_is_attempted_and_told_in_the_threat_model():
    """No number of the list is left out, twenty are our own, and the document names each of them."""
    ours = {attack.id: attack.does for attack in ATTACKS}
    assert not set(ours) & set(written())
    every = ours | written()
    assert listed() <= set(every)
    assert len([name for name in every if name.startswith("J")]) >= 20
    document = (ROOT / "docs" / "threat-model.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in document.splitlines() if line.startswith("| ")]
    told = {row[0]: row for row in rows if row[0][:1] in "ABCDEFGHIJ" and row[0][1:].isdigit()}
    assert set(told) == set(every)
    assert {name: row[1] for name, row in told.items()} == {name: does.rstrip(".") for name, does in every.items()}
    for attack in ATTACKS:
        assert told[attack.id][2:] == [f"L{attack.level}", attack.below], attack.id
        assert attack.level == 0 or attack.below
