"""The people of the course: read from a CSV file, kept by id, and found by whatever a platform calls them.

The first line names the columns: ``id`` and any of the others, in any order. A file with a wrong line changes nothing,
and every wrong line is told. Import adds people and brings known ones up to date in the columns that the file has; it
removes nobody, since grades may hang on them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

import msgspec

from grader import spreadsheet
from grader.errors import UsageError, plain, suggest
from grader.gradebook.database import transaction
from grader.records import Record

MAX_VALUE = 200
#: What may be typed above the columns, by the word of ours.
ALSO = {"student": "id", "student id": "id", "full name": "name", "email address": "email", "sis user id": "sis_id"}


class Person(Record, frozen=True):
    """One student. ``sis_id`` and ``login`` are Canvas's SIS User ID and SIS Login ID; the ids are each platform's own."""

    id: str
    name: str = ""
    email: str = ""
    section: str = ""
    canvas_id: str = ""
    sis_id: str = ""
    login: str = ""
    moodle_id: str = ""
    gradescope_id: str = ""


COLUMNS = Person.__struct_fields__
#: Columns that must not name two people.
UNIQUE = ("email", "canvas_id", "sis_id", "login", "moodle_id", "gradescope_id")


class Roster(Record, frozen=True):
    """A roster file: its people, the columns that it has, and what is wrong with it by line."""

    people: tuple[Person, ...]
    columns: tuple[str, ...]
    errors: tuple[UsageError, ...] = ()


class Change(Record, frozen=True):
    """What an import did, in ids."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    same: tuple[str, ...]


class Directory(Record, frozen=True):
    """Everybody by every name that stands for one person only."""

    people: dict[str, Person]
    names: dict[tuple[str, str], str]

    def find(self, student: str, lms: str = "", lms_id: str = "") -> Person | None:
        """Whom a folder's name or a platform's id means; None where nobody or more than one person could be meant."""
        # Moodle's number is a participant's in one assignment, and another person's in the next.
        if lms_id and lms != "moodle" and (known := self.names.get((f"{lms}_id", _key(lms_id)))):
            return self.people[known]
        # Gradescope's SID is the number that the course itself gave it.
        for known in (lms_id if lms == "gradescope" else "", student):
            if known in self.people:
                return self.people[known]
        for column in ("email", "login", "sis_id", "name"):
            if known := self.names.get((column, _key(student))):
                return self.people[known]
        return None

    def id_of(self, student: str, lms: str = "", lms_id: str = "") -> str:
        """The id in the roster, or the name as it was handed in."""
        person = self.find(student, lms, lms_id)
        return person.id if person else student


def read_people(content: bytes, where: str) -> Roster:
    """The people of a roster file. Raises UsageError where it has no columns."""
    sheet = spreadsheet.read(content, where)
    rows = [row for row in sheet.rows if any(cell.strip() for cell in row.cells)]
    if not rows:
        raise UsageError("is empty", where=where, fix="begin with the line: id,name,email,section")
    columns = _columns(rows[0], where)
    people: list[Person] = []
    errors: list[UsageError] = []
    taken: dict[tuple[str, str], int] = {}
    for row in rows[1:]:
        try:
            person = _person(row, columns, where)
            for column in ("id", *UNIQUE):
                _take(taken, column, getattr(person, column), row.line, where)
        except UsageError as error:
            errors.append(error)
        else:
            people.append(person)
    if not people and not errors:
        raise UsageError("names nobody", where=where, fix="add a line for each student")
    return Roster(people=tuple(people), columns=tuple(columns), errors=tuple(errors))


def import_people(database: sqlite3.Connection, people: Sequence[Person], columns: Collection[str] = COLUMNS) -> Change:
    """Add people and bring known ones up to date, all or none. Of these only ``columns`` change: a file says no more."""
    done: dict[Literal["added", "changed", "same"], list[str]] = {"added": [], "changed": [], "same": []}
    with transaction(database):
        known = _people(database)
        for said in people:
            old = known.get(said.id)
            person = msgspec.structs.replace(old or said, **{column: getattr(said, column) for column in columns})
            done["added" if old is None else "same" if old == person else "changed"].append(person.id)
            known[person.id] = person
        taken: dict[tuple[str, str], str] = {}
        for person in known.values():
            _refuse_shared(taken, person)
        marks = ", ".join("?" * len(COLUMNS))
        values = [tuple(getattr(known[said.id], column) for column in COLUMNS) for said in people]
        database.executemany(f"INSERT OR REPLACE INTO students ({', '.join(COLUMNS)}) VALUES ({marks})", values)  # noqa: S608 - our own names
    return Change(**{name: tuple(ids) for name, ids in done.items()})


def directory(database: sqlite3.Connection) -> Directory:
    """The roster as it stands."""
    people = _people(database)
    names: dict[tuple[str, str], str] = {}
    shared: set[tuple[str, str]] = set()
    for person in people.values():
        for column in (*UNIQUE, "name"):
            place = (column, _key(getattr(person, column)))
            if place[1] and names.setdefault(place, person.id) != person.id:
                shared.add(place)
    return Directory(people=people, names={place: known for place, known in names.items() if place not in shared})


def _people(database: sqlite3.Connection) -> dict[str, Person]:
    rows = database.execute(f"SELECT {', '.join(COLUMNS)} FROM students ORDER BY id")  # noqa: S608 - our own names
    return {row[0]: Person(**dict(zip(COLUMNS, row, strict=True))) for row in rows}


def _columns(row: spreadsheet.Row, where: str) -> list[str]:
    columns: list[str] = []
    place = f"{where}:{row.line}"
    for title in row.cells:
        word = " ".join(title.casefold().split())
        name = ALSO.get(word, word.replace(" ", "_").replace("-", "_"))
        if name not in COLUMNS:
            raise UsageError(f"unknown column '{plain(title, 60)}'", where=place, fix=suggest(name, COLUMNS))
        if name in columns:
            raise UsageError(f"has the column '{name}' twice", where=place, fix="keep one of them")
        columns.append(name)
    if "id" not in columns:
        raise UsageError("has no column 'id'", where=place, fix="begin with the line: id,name,email,section")
    return columns


def _person(row: spreadsheet.Row, columns: list[str], where: str) -> Person:
    place = f"{where}:{row.line}"
    if len(row.cells) != len(columns):
        what = f"has {len(row.cells)} cells, not {len(columns)}"
        raise UsageError(what, where=place, fix="put quotes around a cell that holds a comma")
    values = {name: cell.strip() for name, cell in zip(columns, row.cells, strict=True)}
    for name, value in values.items():
        if value != plain(value, MAX_VALUE):
            what = (
                f"{name} '{plain(value, 60)}' is longer than {MAX_VALUE} characters or holds some that cannot be seen"
            )
            raise UsageError(what, where=place, fix="type it again")
    if not values["id"]:
        raise UsageError("the id is empty", where=place, fix="give each student an id, such as the student number")
    if values.get("email") and "@" not in values["email"]:
        raise UsageError(f"'{values['email']}' is no email address", where=place, fix="correct it, or leave it empty")
    return Person(**values)


def _take(taken: dict[tuple[str, str], int], column: str, value: str, line: int, where: str) -> None:
    first = taken.setdefault((column, _key(value)), line) if value else line
    if first != line:
        what = f"{column} '{plain(value, 60)}' stands on line {first} too"
        raise UsageError(what, where=f"{where}:{line}", fix="each stands for one student")


def _refuse_shared(taken: dict[tuple[str, str], str], person: Person) -> None:
    """What is unique in a file must be so together with the people who are there already."""
    for column in UNIQUE:
        value = getattr(person, column)
        other = taken.setdefault((column, _key(value)), person.id) if value else person.id
        if other != person.id:
            what = f"{column} '{value}' would be that of '{other}' and of '{person.id}'"
            raise UsageError(what, where="roster", fix="correct one of them; nothing was imported")


def _key(value: str) -> str:
    return " ".join(value.casefold().split())


def shown(ids: Iterable[str], most: int = 5) -> str:
    """A few of many ids."""
    names = list(ids)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(plain(name, 60) for name in names[:most]) + more
