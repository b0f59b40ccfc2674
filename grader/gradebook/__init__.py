"""The gradebook: who handed in what and when, what it scored, and what staff decided. All SQL is in this package.

``database`` opens the file; ``roster`` knows the people, ``attempts`` what was handed in, ``remarks`` the decisions of
staff. Only facts are stored. A grade is computed from them each time it is asked for (``policy``, ``grades``), so an
extension or a changed late policy holds at once and for everybody, and nothing can go stale.
"""

from grader.gradebook.attempts import Attempt, Handed, enrol, record
from grader.gradebook.database import opened, transaction
from grader.gradebook.grades import Grade, grades
from grader.gradebook.policy import Lateness, Policy, lateness
from grader.gradebook.remarks import Remark, adjust, comment, extend, withdraw
from grader.gradebook.roster import Change, Directory, Person, Roster, directory, import_people, read_people

__all__ = [
    "Attempt",
    "Change",
    "Directory",
    "Grade",
    "Handed",
    "Lateness",
    "Person",
    "Policy",
    "Remark",
    "Roster",
    "adjust",
    "comment",
    "directory",
    "enrol",
    "extend",
    "grades",
    "import_people",
    "lateness",
    "opened",
    "read_people",
    "record",
    "transaction",
    "withdraw",
]
