"""Intake: ``archives`` lists and reads files, ``notebooks`` parses them, ``intake`` decides whose and which lab's."""

from grader.submissions.intake import Intake, Submission, collect, slug
from grader.submissions.notebooks import Cell

__all__ = ["Cell", "Intake", "Submission", "collect", "slug"]
