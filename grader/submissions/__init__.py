"""Intake: ``archives`` lists and reads files, ``notebooks`` parses them, ``intake`` decides whose and which lab's.

``lms`` recognises the platforms' bulk downloads, ``copies`` makes a class folder of one, ``manifest`` keeps what was said
of it. ``literals`` finds data that a notebook carries in its source.
"""

from grader.submissions.copies import Collected, copy_out
from grader.submissions.intake import Intake, Submission, collect, slug
from grader.submissions.literals import LargeLiteral, code_bytes, large_literals
from grader.submissions.lms import Whose, nobody
from grader.submissions.notebooks import Cell

__all__ = [
    "Cell",
    "Collected",
    "Intake",
    "LargeLiteral",
    "Submission",
    "Whose",
    "code_bytes",
    "collect",
    "copy_out",
    "large_literals",
    "nobody",
    "slug",
]
