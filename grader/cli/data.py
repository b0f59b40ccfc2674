"""``grader data``: which data sets are here, and how to bring the full ones."""

from __future__ import annotations

from pathlib import Path

import click

from grader.cli.app import App, common, interruptible, json_option
from grader.cli.jsonout import quiet_stdout, write
from grader.cli.show import complain, print_table, safe, say, table
from grader.errors import EXIT_USAGE, GraderError

data_option = click.option(
    "--data",
    "folder",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder with the full data sets.  [default: Keras's cache]",
)


@click.group(short_help="Show, download or carry the data sets.")
def data() -> None:
    """Show, download or carry the data sets.

    Grading works without any of this: a compact lite tier ships with the grader.
    """


@data.command()
@data_option
@json_option
@common
@click.pass_obj
def status(app: App, folder: Path | None) -> int:
    """Which tier of each data set is used, and why. Exit code 2 when a file is not what it claims to be."""
    from grader.datasets import cache_folder
    from grader.datasets import status as all_status

    settings = app.settings(data=folder)
    rows = all_status(settings.data)
    place = cache_folder(settings.data)
    code = EXIT_USAGE if any(row.problem for row in rows) else 0
    if app.json:
        sets = [
            {
                "dataset": row.dataset,
                "title": row.title,
                "tier": "" if row.problem else row.tier.value,
                "folder": str(row.folder),
                "missing": list(row.missing),
                "problem": row.problem,
                "licence": row.licence,
            }
            for row in rows
        ]
        return write("data status", code, {"folder": str(place), "datasets": sets})
    made = table("", ["data set", "tier", "full data", "licence"])
    for row in rows:
        full = "wrong" if row.problem else "complete" if not row.missing else _missing(row.missing)
        made.add_row(row.dataset, "–" if row.problem else row.tier.value, safe(full, 120), row.licence)
    print_table(made)
    say()
    say(f"full data is looked for in {place}")
    if any(row.missing for row in rows):
        say("to get it: `grader data fetch`, or `grader data import FOLDER` with a folder made by `grader data export`")
    for row in rows:
        if row.problem:
            complain(row.problem)
    return code


def _missing(files: tuple[str, ...]) -> str:
    return f"{', '.join(files)} missing" if len(files) <= 2 else f"{len(files)} files missing"


@data.command()
@click.argument("names", nargs=-1, metavar="[DATASET]...")
@click.option("--mirror", metavar="URL", help="Download from here.  [default: where Keras does]")
@data_option
@json_option
@common
@click.pass_obj
def fetch(app: App, names: tuple[str, ...], mirror: str | None, folder: Path | None) -> int:
    """Download full data sets, all where none is named. Each file is checked by its sha256."""
    from grader import datasets

    settings = app.settings(data=folder, mirror=mirror)
    chosen = [datasets.known(name).id for name in names] or list(datasets.DATASETS)
    done: list[str] = []
    failed: dict[str, str] = {}
    with (
        quiet_stdout(active=app.json),
        interruptible(lambda: f"the data sets fetched so far stay: {', '.join(done) or 'none'}"),
    ):
        for name in chosen:
            say(f"{name}: downloading", err=True)
            try:
                place = datasets.fetch(name, settings.mirror, data_folder=settings.data, python=settings.kernel_python)
            except GraderError as error:
                # The next set may come from another server: one that is down must not cost the others.
                complain(str(error))
                failed[name] = str(error)
                continue
            done.append(name)
            say(f"{name}: in {place}", err=True)
    code = EXIT_USAGE if failed else 0
    if app.json:
        place = datasets.cache_folder(settings.data)
        return write("data fetch", code, {"folder": str(place), "fetched": done, "failed": failed})
    say(f"{len(done)} of {len(chosen)} data sets fetched")
    return code


@data.command("import")
@click.argument("source", type=click.Path(path_type=Path), metavar="FOLDER")
@data_option
@json_option
@common
@click.pass_obj
def import_(app: App, source: Path, folder: Path | None) -> int:
    """Put a folder made by `grader data export` in place, after checking all of it."""
    from grader import datasets

    settings = app.settings(data=folder)
    names = datasets.import_(source, data_folder=settings.data)
    place = datasets.cache_folder(settings.data)
    if app.json:
        return write("data import", 0, {"folder": str(place), "imported": list(names)})
    say(f"{', '.join(names)}: in {place}")
    return 0


@data.command()
@click.argument("target", type=click.Path(path_type=Path), metavar="FOLDER")
@click.argument("names", nargs=-1, metavar="[DATASET]...")
@data_option
@json_option
@common
@click.pass_obj
def export(app: App, target: Path, names: tuple[str, ...], folder: Path | None) -> int:
    """Pack the full data that is here into one FOLDER to carry to a room without a network."""
    from grader import datasets

    settings = app.settings(data=folder)
    packed = datasets.export(target, data_folder=settings.data, dataset_ids=names)
    if app.json:
        return write("data export", 0, {"folder": str(target), "exported": list(packed)})
    say(f"{', '.join(packed)}: in {target}")
    say(f"carry that folder, then run there: grader data import {target.name}")
    return 0
