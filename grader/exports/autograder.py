"""A Gradescope autograder as one zip: the grader, one lab with its hidden suite, and the two scripts Gradescope calls.

``setup.sh`` runs once, when the image is built: it installs Python and the pinned packages and puts the grader where a
sandbox can show it. ``run_autograder`` runs for every submission: it grades /autograder/submission and writes
/autograder/results/results.json, whatever happened. The hidden suite lies in /autograder/source, which only root may
read. The zip is for the instructor's upload; students never see it.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from grader.errors import UsageError
from grader.exports.packing import packed
from grader.labs import Lab
from grader.records import Level, Limits, Record
from grader.settings import Settings, limits_for, secret
from grader.version import __version__

PACKAGE = Path(__file__).resolve().parent.parent
#: Container sizes that Gradescope offers, in MB, with their names in its settings.
SIZES = (
    (768, "0.5 CPU, 0.75 GB RAM"),
    (1536, "1.0 CPU, 1.5 GB RAM"),
    (3072, "2.0 CPU, 3.0 GB RAM"),
    (6144, "4.0 CPU, 6.0 GB RAM"),
)
#: An estimate of what the judge and the system take beside the run itself.
BESIDE_MB = 350
#: TensorFlow alone peaks near 720 MB, so the smallest container leaves nothing for a notebook.
LEAST_MB = 1_100

SETUP = """\
#!/usr/bin/env bash
# Runs once, when Gradescope builds the image. Needs Python 3.11 to 3.13 and a network.
set -euo pipefail
for python in python3.13 python3.12 python3.11; do
  command -v "$python" > /dev/null && break
done
if ! command -v "$python" > /dev/null || ! "$python" -c 'import ensurepip, venv' 2> /dev/null; then
  apt-get update
  apt-get install -y python3.12 python3.12-venv || apt-get install -y python3.11 python3.11-venv
  python="$(command -v python3.12 || command -v python3.11)"
fi
apt-get install -y bubblewrap || true  # the sandbox works without it, too
"$python" -m venv /opt/grader-venv
/opt/grader-venv/bin/python -m pip install --no-cache-dir {hashes}-r /autograder/source/requirements.txt
mkdir -p /opt/grader
cp -R /autograder/source/grader /opt/grader/
echo /opt/grader > "$(/opt/grader-venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/grader.pth"
chmod -R go-rwx /autograder/source
"""
RUN = """\
#!/usr/bin/env bash
# Runs for every submission. Gradescope shows what is in results/results.json.
set -u
root="${{AUTOGRADER_ROOT:-/autograder}}"
# -P: the package of /opt, which a sandbox can show, and not the one that lies in whatever folder this is.
grader="${{AUTOGRADER_GRADER:-/opt/grader-venv/bin/python -P -m grader}}"
work="$(mktemp -d)"
chmod go-rwx "$root/source" "$root/results" "$work"
$grader grade "$root/submission" --lab {lab} --out "$work/cards" --jobs 1 --tier {tier} --min-level {level} \\
  --course "$root/source/course.toml" --json > "$work/said.json"
$grader export gradescope --from "$work/cards" --lab {lab} --said "$work/said.json" \\
  --metadata "$root/submission_metadata.json" --course "$root/source/course.toml" --out "$root/results/results.json"
"""


class Built(Record, frozen=True):
    """A zip, how much memory its container needs, and which of Gradescope's sizes that is."""

    content: bytes
    files: int
    needs_mb: int
    size: str


def build(lab: Lab, settings: Settings, *, tier: str, level: Level) -> Built:
    """The zip for one lab. The course's secret goes along: with it a score there is the score of the staff's own grading."""
    if lab.is_kit:
        raise UsageError(
            "holds only the public suite", where=str(lab.folder), fix="build from the staff's copy of the lab"
        )
    limits = limits_for(settings, lab.limits)
    needs = max(LEAST_MB, limits.memory_mb + BESIDE_MB)
    size = next((name for most, name in SIZES if most >= needs), "")
    if not size:
        what = f"needs {needs:,} MB, more than Gradescope's largest container"
        raise UsageError(what, where=lab.id, fix="lower memory_mb in [limits] of course.toml")
    pinned = _requirements()
    hashes = "--require-hashes " if "--hash=" in pinned else ""
    scripts = {
        "setup.sh": SETUP.format(hashes=hashes),
        "run_autograder": RUN.format(lab=shlex.quote(lab.id), tier=tier, level=level.name),
        "requirements.txt": pinned,
        "course.toml": _course(settings, limits),
        "VERSION": f"{__version__}\n",
    }
    files = {name: text.encode() for name, text in scripts.items()}
    files |= {name: path.read_bytes() for name, path in sorted((*_package_files(), *_lab_files(lab)))}
    content = packed(files, runs=("setup.sh", "run_autograder"))
    return Built(content=content, files=len(files), needs_mb=needs, size=size)


def _course(settings: Settings, limits: Limits) -> str:
    """The settings that a run there needs."""
    lines = [
        "[course]",
        f"secret = {json.dumps(secret(settings))}",  # TOML's strings in quotes are JSON's
        f"language = {json.dumps(settings.language)}",
        "[run]",
        'labs = "labs"',
        "[limits]",
        *(f"{name} = {getattr(limits, name)}" for name in Limits.__struct_fields__),
        "[late]",
        f"percent_per_day = {settings.late_percent}",
        f"max_percent = {settings.late_max}",
        f"grace_minutes = {settings.late_grace}",
    ]
    return "".join(f"{line}\n" for line in lines)


def _package_files() -> Iterator[tuple[str, Path]]:
    for path in PACKAGE.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"grader/{path.relative_to(PACKAGE).as_posix()}", path


def _lab_files(lab: Lab) -> Iterator[tuple[str, Path]]:
    """The spec, both suites and their translations. Not mutants, handouts and calibration: grading needs none of them."""
    folders = ("hidden_tests", "public_tests", "locale")
    for path in (lab.folder / "lab.toml", *(path for name in folders for path in lab.folder.glob(f"{name}/**/*"))):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"labs/{lab.id}/{path.relative_to(lab.folder).as_posix()}", path


def _requirements() -> str:
    """The checkout's hash-checked pins; of an installed grader the very versions that are installed here."""
    pins = PACKAGE.parent / "requirements" / "runtime.txt"
    if pins.is_file():
        return pins.read_text("utf-8")
    names = [re.split(r"[<>=!~;\[ ]", line)[0] for line in metadata.requires("grader") or () if "extra ==" not in line]
    return "".join(f"{name}=={metadata.version(name)}\n" for name in names if _installed(name))


def _installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:  # not needed on this system
        return False
