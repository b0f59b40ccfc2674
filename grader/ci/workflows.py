"""The workflows of a course's repositories, from the templates beside this module.

A template is the workflow as it is read and linted; only the address of the grader's action is filled in. It must name a
commit by its full hash: a tag can be moved to other code, which would then run beside the course's secret.
"""

from __future__ import annotations

import re
from pathlib import Path

from grader.errors import UsageError, plain
from grader.records import Record

TEMPLATES = Path(__file__).parent / "templates"
FOLDER = ".github/workflows"
#: What stands in a template for the action's address.
ACTION = "GRADER_ACTION"
ADDRESS = re.compile(r"[\w.-]+/[\w.-]+(/[\w.-]+)*@[0-9a-f]{40}")


class Side(Record, frozen=True):
    """One kind of repository: its templates, and what a person has to set before they work."""

    templates: tuple[str, ...]
    to_set: tuple[str, ...]


class Workflows(Record, frozen=True):
    """Files by their path in the repository, and what is left to set."""

    files: dict[str, str]
    to_set: tuple[str, ...]


SIDES = {
    "staff": Side(
        templates=("verify-labs.yml", "grade-class.yml"),
        to_set=(
            "keep this repository private: it holds hidden suites and solutions",
            "make the environment 'grading' (Settings, Environments) and allow it for the default branch only",
            "there, set the secret GRADER_SECRET to many random letters; another one gives other scores",
            "there, set the secret STUDENT_REPOSITORIES_TOKEN to a token that may only read the students' repositories",
            "write students.csv: a first line 'student,repository', then one line for each: student-01,course/student-01",
        ),
    ),
    "student": Side(
        templates=("check-notebooks.yml",),
        to_set=(
            "put the public half of each lab into labs/<id>/, as `grader release --as repository` makes it",
            "no secret is needed: set none in this repository",
        ),
    ),
}


def workflows(side: str, action: str) -> Workflows:
    """The workflows of that side, with the grader's action filled in. Raises UsageError for an address that can move."""
    if not ADDRESS.fullmatch(action):
        raise UsageError(
            f"'{plain(action, 100)}' does not name a commit",
            where="--action",
            fix="write OWNER/REPOSITORY@ and all 40 digits of the commit: a tag or branch can be moved to other code",
        )
    chosen = SIDES[side]
    files = {f"{FOLDER}/{name}": (TEMPLATES / name).read_text("utf-8") for name in chosen.templates}
    return Workflows(files={path: text.replace(ACTION, action) for path, text in files.items()}, to_set=chosen.to_set)
