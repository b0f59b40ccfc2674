"""Grades where they are used: learning platforms' own sheets, CSV, JUnit, GitHub, Gradescope.

Everything here is pure: grades, verdicts and a platform's file go in, the bytes to hand back come out. Nothing of it
needs Jupyter, a sandbox or a network. A platform's sheet is filled, never made up: one column of grades (and for
Moodle the feedback), everything else cell for cell as it was.
"""

from grader.exports.canvas import fill_canvas
from grader.exports.feedback import indexed, translated_verdict
from grader.exports.filling import Filled
from grader.exports.github import classroom, summary, workflow_commands
from grader.exports.gradescope import Metadata, results
from grader.exports.junit import junit
from grader.exports.moodle import fill_moodle
from grader.exports.table import long_table, matrix

__all__ = [
    "Filled",
    "Metadata",
    "classroom",
    "fill_canvas",
    "fill_moodle",
    "indexed",
    "junit",
    "long_table",
    "matrix",
    "results",
    "summary",
    "translated_verdict",
    "workflow_commands",
]
