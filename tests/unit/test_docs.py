"""The documents say what the code does: names, keys, options, codes and links are compared both ways."""

from __future__ import annotations

import ast
import enum
import itertools
import re
import tomllib
from pathlib import Path

import click
import msgspec
import pytest

import grader.checks
from grader import errors
from grader.cli import journal
from grader.labs import find_labs, load_lab, spec, starter, suites
from grader.records import RESULT_SCHEMA, Limits, Threshold, Verdict, encode
from grader.sandbox.canary import CLAIMS
from grader.settings import LIMIT_NAMES, OPTIONS, TABLES, load_settings
from grader.verification import variants
from tools import matrices

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")


def document(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def pages() -> list[Path]:
    return [path for path in (ROOT / "README.md", *sorted(DOCS.rglob("*.md"))) if path.is_file()]


def blocks(name: str, kind: str) -> list[str]:
    return [text for found, text in FENCE.findall(document(name)) if found == kind]


def section(text: str, title: str) -> str:
    """What stands under a heading, up to the next of its rank or above."""
    found = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert found, f"no heading {title!r}"
    rest = text[found.end() :]
    end = re.search(rf"^#{{1,{len(found.group(1))}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def cells(text: str) -> list[list[str]]:
    """The rows of the tables in a text."""
    rows = [line.strip() for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def first_column(text: str) -> set[str]:
    """The names in backticks in the first column of a section's tables."""
    return {name for row in cells(text) for name in re.findall(r"`([^`]+)`", row[0])}


def coded(text: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", text))


def nested(kind: type, seen: dict[str, type] | None = None) -> dict[str, type]:
    """A record and every record and enum that its fields lead to, by name."""
    seen = {} if seen is None else seen
    if kind.__name__ not in seen:
        seen[kind.__name__] = kind
        if issubclass(kind, msgspec.Struct):
            for field in msgspec.inspect.type_info(kind).fields:
                for inner in classes(field.type):
                    nested(inner, seen)
    return seen


def classes(info: msgspec.inspect.Type) -> list[type]:
    """The record and enum classes in a field's type."""
    if isinstance(info, msgspec.inspect.StructType | msgspec.inspect.EnumType):
        return [info.cls]
    parts = (getattr(info, "types", ()), getattr(info, "item_types", ()))
    inner = [*itertools.chain(*parts)]
    inner += [
        part for name in ("item_type", "key_type", "value_type") if (part := getattr(info, name, None)) is not None
    ]
    return [found for part in inner for found in classes(part)]


# ---------------------------------------------------------------- result.json


@pytest.mark.parametrize("name", sorted(set(nested(Verdict)) - {"Level"}))
def test_each_record_of_a_verdict_is_documented_field_by_field(name):
    """Every field and value has its row in result-schema.md, and no row names one that is gone."""
    kind = nested(Verdict)[name]
    written = first_column(section(document("result-schema.md"), name))
    if issubclass(kind, enum.Enum):
        assert written == {member.value for member in kind}
    else:
        assert written == set(kind.__struct_fields__)


@pytest.mark.parametrize("kind", [journal.Line, *journal.Line.__subclasses__(), journal.Slow])
def test_each_event_is_documented_field_by_field(kind):
    """Every field that an event writes has its row in event-schema.md, and no row names one that is gone."""
    title = "Every event" if kind is journal.Line else kind.__name__
    fields = {field.name for field in msgspec.structs.fields(kind)}
    own = fields | {"event"} if kind is journal.Line else fields - set(journal.Line.__struct_fields__)
    assert first_column(section(document("event-schema.md"), title)) == own
    assert f"schema **{journal.EVENT_SCHEMA}**" in document("event-schema.md")


def test_the_example_verdict_is_one():
    """The example of result-schema.md is a whole verdict of the current schema: nothing missing, nothing unknown."""
    (example,) = blocks("result-schema.md", "json")
    verdict = msgspec.json.decode(example, type=Verdict)
    assert msgspec.json.decode(example) == msgspec.json.decode(encode(verdict))
    assert verdict.schema == RESULT_SCHEMA
    assert f"schema **{RESULT_SCHEMA}**" in document("result-schema.md")


def test_the_timings_that_grading_writes_are_documented():
    """Each stage that the runner and the pipeline name has its row."""
    source = "".join((ROOT / "grader" / name).read_text("utf-8") for name in ("runner.py", "grading.py"))
    written = set(re.findall(r'"(start|notebook|own|run|judging|questions|total)":', source))
    assert first_column(section(document("result-schema.md"), "Timings")) == written


# ---------------------------------------------------------------- settings


def test_every_setting_has_its_row():
    """Each setting stands with its table, key and variable, and no row is left of one that is gone."""
    rows = [[cell.strip("`") for cell in row[:3]] for row in cells(section(document("settings.md"), "Keys"))[2:]]
    assert rows == [[f"[{option.table}]", option.key, option.variable] for option in OPTIONS]


def test_every_limit_has_its_row_with_the_default_of_a_lab():
    """Each limit stands with its key, variable and default."""
    rows = [[cell.strip("`") for cell in row[:4]] for row in cells(section(document("settings.md"), "Limits"))[2:]]
    assert rows == [
        ["[limits]", name, f"GRADER_LIMITS_{name.upper()}", f"{getattr(Limits(), name):g}"] for name in LIMIT_NAMES
    ]


def test_the_example_course_sets_every_key(tmp_path):
    """The course.toml of settings.md is accepted, and leaves no table and no key out."""
    (example,) = blocks("settings.md", "toml")
    path = tmp_path / "course.toml"
    path.write_text(example, "utf-8")
    settings = load_settings(path, {})
    tables = tomllib.loads(example)
    assert set(tables) == set(TABLES)
    assert {(option.table, option.key) for option in OPTIONS} <= {
        (table, key) for table in tables for key in tables[table]
    }
    assert set(settings.limits) == set(LIMIT_NAMES)
    assert set(settings.due) == set(tables["labs"])


# ---------------------------------------------------------------- labs


def spec_keys() -> set[str]:
    tables = (
        spec._Spec,
        spec._ContractTable,
        spec._FilesTable,
        spec._KernelTable,
        spec._ObserveTable,
        Limits,
        Threshold,
    )
    found = {field for kind in (*tables, starter.Mutant, starter.Replacement) for field in kind.__struct_fields__}
    return found - {"limits", "contract", "files", "kernel", "observe", "thresholds", "name"}


def test_every_key_of_a_spec_is_documented():
    """Each key of lab.toml and of a mutant is named in authoring.md, and each table."""
    assert spec_keys() <= coded(document("authoring.md"))
    tables = {"[limits]", "[kernel]", "[contract.NAME]", "[files]", "[observe]", "[thresholds.TIER.NAME]"}
    assert tables <= coded(document("authoring.md"))


def test_the_defaults_of_a_spec_are_those_documented():
    """The table of keys tells each default, or that there is none."""
    rows = {
        row[0].strip("`"): row[1].strip('`"') for row in cells(section(document("authoring.md"), "The spec: lab.toml"))
    }
    for field in msgspec.structs.fields(spec._Spec):
        if field.name in rows:
            default = "required" if field.required else field.default
            assert rows[field.name] == (f"{default:g}" if isinstance(default, float) else default)
    text = " ".join(section(document("authoring.md"), "The spec: lab.toml").split())
    for name in LIMIT_NAMES:
        assert f"`{name}` ({getattr(Limits(), name):g})" in text
    assert all(f"`{name}`" in text for name in spec.DATA_SETS)


def test_the_example_lab_is_a_right_one(tmp_path):
    """The spec and both suites of authoring.md make a lab that loads; its spec shows every key."""
    folder = tmp_path / "flowers"
    toml = blocks("authoring.md", "toml")
    python = blocks("authoring.md", "python")
    for name, start in (("hidden_tests", '"""Hidden suite'), ("public_tests", '"""Public suite')):
        (folder / name).mkdir(parents=True)
        (suite,) = (block for block in python if block.startswith(start))
        (folder / name / "test_flowers.py").write_text(suite, "utf-8")
    (folder / "lab.toml").write_text(toml[0], "utf-8")
    lab = load_lab(folder)
    assert {check.id for check in lab.checks} == {"trained", "accuracy", "gradient"}
    assert lab.public_checks
    shown = tomllib.loads(toml[0])
    assert set(shown) == set(spec._Spec.__struct_fields__)
    assert set(shown["contract"]["model"]) == set(spec._ContractTable.__struct_fields__)
    assert set(shown["limits"]) == set(LIMIT_NAMES)


def test_the_example_mutant_is_one(tmp_path):
    """The mutant of authoring.md is read as one."""
    (tmp_path / "mutants").mkdir()
    (tmp_path / "mutants" / "never_trained.toml").write_text(blocks("authoring.md", "toml")[1], "utf-8")
    (mutant,) = starter.read_mutants(tmp_path)
    assert (mutant.low, mutant.high, len(mutant.replace)) == (0, 30, 1)


def test_the_marked_solution_becomes_the_promised_starter():
    """The example of markers, made into a starter, keeps its first line, has the line to write at, and is Python."""
    (source,) = (block for block in blocks("authoring.md", "python") if "### BEGIN SOLUTION" in block)
    notebook = {"cells": [{"cell_type": "code", "source": source}]}
    (cell,) = starter.starter(notebook)["cells"]
    made = ["def gradient(f, x):", "    # Write your solution here.", "    raise NotImplementedError"]
    assert cell["source"].splitlines() == made
    assert all(f"`{line.strip()}`" in document("authoring.md") for line in made[1:])


def test_everything_a_suite_can_import_is_documented():
    """The table of authoring.md has each name of grader.checks, and no other."""
    table = section(document("authoring.md"), "What a suite imports")
    assert first_column(table) == set(grader.checks.__all__)


def test_every_argument_of_check_is_documented():
    """The arguments of @check are those its reader knows."""
    text = section(document("authoring.md"), "The hidden suite")
    assert set(suites.ARGUMENTS) - {"id"} <= coded(text)


@pytest.mark.parametrize("number", range(len(blocks("authoring.md", "python"))))
def test_python_in_the_guide_compiles(number):
    """Each block of Python is Python, and imports only names that exist."""
    source = blocks("authoring.md", "python")[number]
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "grader.checks":
            assert {alias.name for alias in node.names} <= set(grader.checks.__all__)


def test_the_members_that_the_guide_names_exist():
    """Methods and attributes shown for models, files and draws are really there."""
    from grader.checks.student import FileRef, Files, Model, Remote
    from grader.heldout import Drawn, Heldout
    from grader.probe.helpers import HELPERS

    shown = document("authoring.md")
    of = section(shown, "Held-out data")
    for name in re.findall(r"`(\w+)(?:\([^`]*\))?`", " ".join(row[0] for row in cells(of)[2:])):
        assert name == "len" or hasattr(Heldout, name) or name in Heldout.__dataclass_fields__, name
    members = {
        Model: (
            "predict",
            "description",
            "weights",
            "cross_entropy_gradients",
            "training",
            "compiled",
            "student_predict",
            "verified",
        ),
        Files: ("first", "find", "matching", "checkpoints"),
        FileRef: ("load_model", "load_weights", "architecture", "optimizer_state"),
        Remote: ("keep", "take", "call", "value"),
        Drawn: ("subset", "scaled", "shaped", "array"),
    }
    for kind, names in members.items():
        for name in names:
            assert hasattr(kind, name)
            assert re.search(rf"\b{name}\b", shown)
    for helper in ("same", "type_name", "device", "training_summary", "predict", "describe", "weights"):
        assert helper in HELPERS
        assert re.search(rf'[`"]{helper}[`"]', shown)


# ---------------------------------------------------------------- commands


def commands() -> dict[str, click.Command]:
    """Every command that does something, by what is typed."""
    from grader.cli import cli

    found: dict[str, click.Command] = {}

    def walk(command: click.Command, path: str) -> None:
        if isinstance(command, click.Group):
            for name, inner in command.commands.items():
                walk(inner, f"{path} {name}")
        else:
            found[path] = command

    walk(cli, "grader")
    return found


COMMON = {"--course", "--debug", "--json"}


@pytest.mark.parametrize("path", sorted(commands()))
def test_each_command_is_documented_option_by_option(path):
    """A command's section has all its options and no other, its arguments, and its exit codes."""
    text = section(document("commands.md"), path)
    parameters = commands()[path].params
    options = {name for parameter in parameters if isinstance(parameter, click.Option) for name in parameter.opts}
    rows = {name for row in cells(text) for name in re.findall(r"`(--[\w-]+)", row[0])}
    assert rows == options - COMMON
    usage = re.search(rf"`{path}([^`]*)`", text)
    assert usage
    for parameter in parameters:
        if isinstance(parameter, click.Argument):
            assert str(parameter.metavar).rstrip(".").strip("[]") in usage.group(1)
    assert "Exit codes: 0" in text
    assert ("JSON: " in text) == ("--json" in options)


def test_every_command_in_the_document_exists():
    """No section is left of a command that is gone, and common options are those that all commands share."""
    written = set(re.findall(r"^## (grader .+)$", document("commands.md"), re.MULTILINE))
    assert written == set(commands())
    table = first_column(section(document("commands.md"), "Options of every command"))
    assert table == {"--course FILE", "--debug", "--json", "-h", "--help", "--version"}
    for command in commands().values():
        shared = {
            name for parameter in command.params if isinstance(parameter, click.Option) for name in parameter.opts
        }
        assert shared >= COMMON


def test_every_exit_code_is_documented():
    """The table has the codes of the errors and of the command line, and no other."""
    from grader import cli

    codes = {value for module in (errors, cli) for name, value in vars(module).items() if name.startswith("EXIT_")}
    rows = cells(section(document("commands.md"), "Exit codes"))[2:]
    assert [int(row[0]) for row in rows] == sorted(codes)
    for text in re.findall(r"^Exit codes: (.*)$", document("commands.md"), re.MULTILINE):
        assert {int(code) for code in re.findall(r"\b\d+\b", text)} <= codes


def test_help_tells_the_same_exit_codes_and_no_markup():
    """`grader --help` names every code of the table; what click was to lay out is not printed."""
    from grader.cli import cli

    shown = cli.get_help(click.Context(cli, info_name="grader"))
    rows = cells(section(document("commands.md"), "Exit codes"))[2:]
    told = re.search(r"Exit codes:(.*?)\n\n", shown, re.DOTALL)
    assert told
    assert sorted(map(int, re.findall(r"\b\d+\b", told[1]))) == [int(row[0]) for row in rows]
    assert not [path for path, command in commands().items() if "\\" in command.get_help(click.Context(command))]
    assert "\\" not in shown


def test_every_error_has_its_exit_code_in_the_architecture():
    """The table of blame gives each class that a person may meet, with the code it ends in."""
    rows = cells(section(document("architecture.md"), "Blame"))[2:]
    written = {name: row[1] for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    from grader.session import TapeMiss

    raised = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.GraderError)]
    expected = {
        kind.__name__: str(kind.exit_code or "none") for kind in (*raised, TapeMiss) if kind is not errors.GraderError
    }
    assert written == expected


# ---------------------------------------------------------------- the sandbox and the floors


def test_every_claim_of_the_canary_is_documented():
    """Each claim stands with its words and its level, in the canary's order."""
    rows = cells(section(document("sandbox.md"), "What the canary tries"))[2:]
    assert [tuple(row[:3]) for row in rows] == [
        (f"`{name}`", text, level.name) for name, (level, text) in CLAIMS.items()
    ]


def test_no_level_is_promised_that_the_canary_cannot_prove():
    """A level without a claim is said to be missing."""
    proved = {level.name for level, _ in CLAIMS.values()} | {"L0"}
    for row in cells(section(document("sandbox.md"), "The ladder"))[2:]:
        assert ("not there yet" in row[2]) == (row[0] not in proved)


def test_the_floors_are_those_that_are_enforced():
    """The table of floors, read downward, is the import contract of pyproject.toml, read upward."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    there = {path.stem if path.suffix else path.name for path in (ROOT / "grader").iterdir()}
    enforced = [set(re.findall(r"\w+", layer)) & there for layer in reversed(layers)]
    rows = cells(section(document("architecture.md"), "Floors"))[2:]
    assert [set(re.findall(r"`(\w+)`", row[1])) for row in rows] == [floor for floor in enforced if floor]


def test_every_message_of_the_wire_is_named():
    """The architecture lists the orders and reports that may cross."""
    from grader import wire

    text = section(document("architecture.md"), "The one channel")
    for union in (wire.Order, wire.Report):
        assert {kind.__name__ for kind in union.__args__} <= coded(text)


# ---------------------------------------------------------------- the labs


@pytest.mark.parametrize("lab", find_labs(ROOT / "labs").values(), ids=lambda lab: lab.id)
def test_the_matrix_of_a_lab_shows_every_notebook_and_every_check_that_it_has(lab):
    """A page that was written before a mutant, a band or a check was changed is found out (`make matrices` mends it)."""
    named = cells(document(f"labs/{lab.id}.md").partition("| notebook | score |")[2].partition("\n\n")[0])
    title = document(f"labs/{lab.id}.md").partition("| notebook | score |")[2].partition("\n")[0]
    assert [name.strip() for name in title.split("|")][1:-3] == [check.id for check in lab.checks]
    bands = {name: (f"{low:g}" if low == high else f"{low:g}–{high:g}") for name, _, low, high, _ in variants(lab)}
    assert {row[0]: row[2] for row in named[2:]} == bands


def test_the_table_of_all_labs_adds_up_their_pages_and_their_calibrations():
    """`python tools/matrices.py` would change nothing of it."""
    assert document("labs/index.md") == matrices.index(find_labs(ROOT / "labs"))


# ---------------------------------------------------------------- links


def slug(heading: str) -> str:
    """The anchor of a heading, as code hosts make it."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).strip().replace(" ", "-")


def headings(path: Path) -> set[str]:
    text = FENCE.sub("", path.read_text("utf-8"))
    return {slug(title) for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_somewhere(page):
    """A link to a file has its file, a link to a heading its heading."""
    for target in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert found == ROOT or ROOT in found.parents, f"{target} leaves the repository"
        if anchor and found.suffix == ".md":
            assert anchor in headings(found), target


def test_every_document_that_the_code_names_exists():
    """Where a message or a docstring sends its reader to docs/, there is such a page."""
    for path in sorted((ROOT / "grader").rglob("*.py")):
        for name, number in re.findall(r"docs/([\w./-]+\.md)|docs/decisions/(\d{3})", path.read_text("utf-8")):
            assert (DOCS / name).is_file() if name else any(DOCS.glob(f"decisions/{number}-*.md")), (
                f"{path.name}: {name or number}"
            )


def test_decisions_are_numbered_once():
    """Each record has its own number, and its title begins with it."""
    records = sorted((DOCS / "decisions").glob("*.md"))
    numbers = [path.name[:3] for path in records]
    assert len(set(numbers)) == len(numbers)
    for path, number in zip(records, numbers, strict=True):
        assert path.read_text("utf-8").startswith(f"# {number}: ")
