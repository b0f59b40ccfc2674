"""What a kept run rests on, as digests that tell whether it is still the run that would be done today.

    run        all that reaches the sandbox: the submission's bytes, the lab's contract, limits and data, the course's
               secret, the GPUs on offer, the versions that notebooks meet
    judging    what its answers are judged and told by: the hidden suite, lab.toml, the lab's translations, the language,
               the course's name, and what is known of the hand-in besides its bytes
    telling    the part of that which is on the cards and in no verdict: the course's name and the translations

Where the first two are those of today, the verdict stands. Where only ``judging`` is another, the tape is judged again;
where ``telling`` is, too, the cards are rendered again even if the verdict is the same. None of them holds the sandbox's
level, since only a canary proves that: a run stands while its level is as high as is demanded.
Nothing of TensorFlow is imported to know its version.
"""

from __future__ import annotations

import functools
import hashlib
import json
import subprocess
from typing import Any

import msgspec

from grader import gpu
from grader.checks.student import wire_name
from grader.errors import SandboxError
from grader.grading import Setting
from grader.labs import files_digest
from grader.records import Gpus, Record
from grader.submissions import Submission
from grader.version import __version__

#: Distributions whose versions decide what a notebook does. TensorFlow's has several names.
PACKAGES = (
    *("tensorflow", "tensorflow-cpu", "tensorflow-intel", "tf-nightly", "keras", "numpy", "pandas", "scipy", "h5py"),
    *("scikit-learn", "matplotlib", "ipykernel", "ipython", "nbclient"),
)
#: Raise it when the sandboxed half records or answers otherwise than before.
LAYOUT = 1
#: What of a lab's folder its runs are judged and told by.
JUDGING = ("lab.toml", "hidden_tests", "locale")
TELLING = ("locale",)


class Provenance(Record, frozen=True):
    """Kept with a run. ``sizes``: the bytes of every file of its folder, by path; a power cut leaves others."""

    run: str
    judging: str
    telling: str = ""
    sizes: dict[str, int] = {}


class Basis(Record, frozen=True):
    """What all runs of one lab rest on; with a submission it gives that run's digests.

    ``gpu``: the lab asks for a GPU, and the host offers one.
    """

    run: str
    judging: str
    telling: str
    gpu: bool = False

    def of(self, submission: Submission) -> Provenance:
        told = msgspec.structs.replace(submission, cells=(), source="", size=0)
        return Provenance(
            run=_digest(self.run, submission.sha256),
            judging=_digest(self.judging, submission.sha256, msgspec.to_builtins(told)),
            telling=self.telling,
        )


def basis(setting: Setting, course_name: str, python: str, gpus: Gpus | None = None) -> Basis:
    """For this lab in this course, with notebooks run by that interpreter; ``gpus`` are a cluster's, else the host's."""
    lab = setting.lab
    offer = Gpus() if lab.gpu == "no" else gpu.inventory() if gpus is None else gpus
    return Basis(
        gpu=bool(offer.cards),
        run=_digest(
            (LAYOUT, __version__, environment(python)),
            (lab.id, lab.keep, lab.snapshots, lab.logical_cpus),
            [msgspec.to_builtins(wire_name(contract, lab)) for contract in lab.contract.values()],
            msgspec.to_builtins(setting.limits),
            setting.mounted.name if setting.mounted else "",  # tells data set, tier, content and layout
            setting.secret,
            msgspec.to_builtins(offer),
        ),
        judging=_digest(__version__, course_name, setting.language, files_digest(lab.folder, JUDGING)),
        telling=_digest(__version__, course_name, files_digest(lab.folder, TELLING)),
    )


@functools.cache
def environment(python: str) -> dict[str, str]:
    """The versions that a notebook meets, asked of the interpreter that runs it. Raises SandboxError."""
    code = (
        "import sys, json, platform, importlib.metadata as m\n"
        "found = {'python': platform.python_version(), 'machine': platform.machine()}\n"
        "for name in sys.argv[1:]:\n"
        "    try: found[name] = m.version(name)\n"
        "    except m.PackageNotFoundError: pass\n"
        "print(json.dumps(found))"
    )
    try:
        done = subprocess.run(
            [python, "-I", "-c", code, *PACKAGES], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SandboxError(
            f"the kernel's Python does not run: {error}", where=python, fix="set [kernel] python in course.toml"
        ) from None
    found: dict[str, str] = json.loads(done.stdout)
    return found


def _digest(*parts: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()
