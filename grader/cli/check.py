"""``grader check``: a student's own check of one notebook, with the public checks only."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from grader.cli.app import App, common, interruptible, json_option, read_labs
from grader.cli.jsonout import quiet_stdout, write
from grader.cli.show import console, safe, say
from grader.errors import EXIT_OURS, UsageError

OUT = Path("check_cards")


@click.command(short_help="Check your own notebook before handing it in.")
@click.argument("notebook", type=click.Path(path_type=Path), metavar="NOTEBOOK")
@click.option("--lab", metavar="ID", help="The lab, where the file's name does not say it.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=OUT,
    help="Where the card goes.  [default: check_cards/]",
)
@json_option
@common
@click.pass_obj
def check(app: App, notebook: Path, lab: str | None, out: Path) -> int:
    """Check your own notebook before handing it in: runs it fresh and asks the public checks.

    It runs on this machine as it is, without a sandbox: check only notebooks that you would run yourself.
    """
    with quiet_stdout(active=app.json):
        from grader.submissions import collect

        settings = app.settings()
        labs, wrong = read_labs(settings)
        if not notebook.is_file():
            raise UsageError("is not a file", where=safe(str(notebook)), fix="name one notebook")
        intake = collect([notebook], [*labs, *wrong], lab)
        if messages := intake.messages():
            raise UsageError(messages[0])
        if not intake.submissions:
            fix = "name it <lab>.ipynb or use --lab"
            raise UsageError(f"is not the {lab} notebook", where=safe(str(notebook)), fix=fix)
        name = intake.submissions[0].lab
        if name in wrong:
            raise wrong[name]
        if not labs[name].public_checks:
            raise UsageError(f"the lab {name} has no public checks", fix="nothing can be checked here")
        from grader.reports import phrases
        from grader.selfcheck import as_text, before_running, check_notebook

        for line in before_running(intake.submissions[0], labs[name], settings):
            say(line, err=True)
        count = len(labs[name].public_checks)
        say(f"running {safe(str(notebook))}, then {count} public check{'s' if count != 1 else ''}", err=True)
        with interruptible(lambda: "nothing was changed"), _waiting() as show:
            result = check_notebook(notebook, labs[name], settings, out, show)
        code = EXIT_OURS if result.verdict.needs_attention else 0
    if app.json:
        files = {"notebook": str(notebook), "card": str(result.card)}
        content = {**files, "not_checked": list(result.not_checked), "verdict": result.verdict}
        return write("check", code, content)
    said = phrases(result.verdict.language, labs[name].folder)
    for line in as_text(result.verdict, result.not_checked, said).splitlines():
        say(line)
    say()
    say(f"Card: {result.card}")
    return code


@contextlib.contextmanager
def _waiting() -> Iterator[Callable[[str], None]]:
    """A spinner that names the step; elsewhere than on a terminal the steps are not told."""
    screen = console(err=True)
    if not screen.is_terminal or screen.is_dumb_terminal:
        yield lambda _: None
        return
    from rich.text import Text

    with screen.status("starting") as status:
        yield lambda text: status.update(Text(safe(text, 80)))  # a plain str would be read as markup
