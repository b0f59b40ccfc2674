"""CI on a course's repositories: the workflows that ``grader init-ci`` writes, and the labs that a change touches.

The staff's repository is private and proves changed labs and grades the class; a student's one runs the public suite.
Nothing here needs a network. docs/course-repository.md tells what lies where and who can reach it.
"""

from grader.ci.changes import Changes, changes_since
from grader.ci.workflows import SIDES, Workflows, workflows

__all__ = ["SIDES", "Changes", "Workflows", "changes_since", "workflows"]
