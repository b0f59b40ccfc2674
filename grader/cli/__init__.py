"""The command line: thin commands over the floors below.

Theory of operation. ``main`` runs one command and decides how it ends: a command returns its exit code, a
``GraderError`` carries its own and is printed as one line, Ctrl-C is 130, and anything unexpected is our fault. A
traceback appears with ``--debug`` only. What a person asked for goes to stdout; progress, warnings and errors go to
stderr, so that ``--json`` leaves exactly one object on stdout (``jsonout``).

Commands import what they need when they run: ``grader --help`` must not wait for NumPy, and ``grader labs`` works
where Jupyter and TensorFlow do not.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from grader.cli.app import App, Interrupted
from grader.cli.build import build
from grader.cli.calibrate import calibrate
from grader.cli.check import check
from grader.cli.collect import collect
from grader.cli.data import data
from grader.cli.doctor import doctor
from grader.cli.export import export
from grader.cli.grade import grade
from grader.cli.gradebook import gradebook
from grader.cli.init_ci import init_ci
from grader.cli.jsonout import write_failure
from grader.cli.labs import labs
from grader.cli.lint import lint
from grader.cli.new import new
from grader.cli.regrade import regrade
from grader.cli.release import release
from grader.cli.show import complain, one_line
from grader.cli.starter import starter
from grader.cli.verify import verify
from grader.confine import hide_memory
from grader.errors import EXIT_OURS, EXIT_USAGE, GraderError
from grader.version import __version__

#: What a shell reports for a program ended by SIGINT, and by SIGPIPE (128 + the signal's number).
EXIT_INTERRUPTED = 130
EXIT_PIPE = 141


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="grader", message="%(prog)s %(version)s")
def cli() -> None:
    """Grade deep-learning labs: run notebooks in a sandbox and judge what the model really learnt.

    Exit codes: 0 done, whatever the scores; 2 the command or its input is wrong; 3 a lab is wrong; 4 our fault, some runs
    need attention; 5 some runs wait for a machine with a GPU; 130 interrupted; 141 the reader of the output went away.
    """


COMMANDS = (
    grade,
    check,
    labs,
    doctor,
    data,
    regrade,
    new,
    lint,
    verify,
    calibrate,
    release,
    starter,
    collect,
    gradebook,
    export,
    build,
    init_ci,
)
for _command in COMMANDS:
    cli.add_command(_command)


def main(argv: Sequence[str] | None = None) -> None:
    """The entry point: run the command, end the process with its exit code."""
    hide_memory()
    for stream in (sys.stdout, sys.stderr):
        # A name in Chinese on a terminal that cannot show it must not end a batch.
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(ValueError, OSError):
                stream.reconfigure(errors="backslashreplace")
    sys.exit(run(argv))


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    app = App()
    try:
        ended: Any = cli.main(argv, prog_name="grader", obj=app, standalone_mode=False)
        sys.stdout.flush()
        return ended if isinstance(ended, int) else 0
    except Interrupted as stop:
        complain(f"interrupted: {stop}" if str(stop) else "interrupted", kind="")
        return EXIT_INTERRUPTED
    except click.exceptions.Abort:
        complain("interrupted", kind="")
        return EXIT_INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return EXIT_USAGE
    except click.ClickException as error:
        return _failed(app, _usage(error), EXIT_USAGE)
    except GraderError as error:
        return _failed(app, str(error), error.exit_code or EXIT_USAGE)
    except BrokenPipeError:
        # The reader went away (`| head`). Whatever is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE
    except Exception as error:  # noqa: BLE001 - the last door: a defect of ours is still told in one line
        what = f"unexpected {type(error).__name__}: {error} (run it again with --debug and report what it prints)"
        return _failed(app, what, EXIT_OURS)


def _failed(app: App, text: str, code: int) -> int:
    if app.debug:
        traceback.print_exc(file=sys.stderr)
    complain(text)
    if app.json:
        write_failure(app.command, one_line(text, 1_000), code)
    return code


def _usage(error: click.ClickException) -> str:
    """Click's message in our form: what, and where to read on."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    near = [str(option) for option in getattr(error, "possibilities", None) or ()]
    text = (error.message if near else error.format_message()).strip().rstrip(".")
    fix = f"did you mean {' or '.join(near[:3])}?" if near else f"try '{ctx.command_path if ctx else 'grader'} --help'"
    return f"{text[:1].lower()}{text[1:]} ({fix})"
