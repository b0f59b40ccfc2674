"""``grader calibrate``: run correct solutions, keep their figures, and propose thresholds from the distribution."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from grader.cli.app import App, choose_labs, common, interruptible, journal_options, json_option, lab_exit, read_labs
from grader.cli.jsonout import quiet_stdout, write
from grader.cli.show import complain, print_table, say, several, table
from grader.errors import EXIT_LAB, EXIT_OURS

if TYPE_CHECKING:
    from grader.calibration.report import Report
    from grader.labs import Lab


@click.command(short_help="Measure correct solutions and propose thresholds.")
@click.argument("name", metavar="LAB")
@click.option("--runs", type=click.IntRange(min=0), default=200, show_default=True, metavar="N", help="Runs to have.")
@click.option("--jobs", type=int, metavar="N", help="Runs at a time.  [default: one per core]")
@click.option("--data", type=click.Path(path_type=Path), metavar="FOLDER", help="Folder with the full data sets.")
@click.option("--tier", type=click.Choice(["full", "lite"]), help="Insist on this tier of the data.")
@click.option("--fresh", is_flag=True, help="Throw the kept runs of this tier away first.")
@click.option("--write", "change", is_flag=True, help="Put the proposed thresholds into lab.toml.")
@journal_options
@json_option
@common
@click.pass_obj
def calibrate(
    app: App, name: str, runs: int, jobs: int | None, data: Path | None, tier: str | None, fresh: bool, change: bool
) -> int:
    """Run correct solutions with many seeds and in many courses, and say how probably each threshold wrongs one.

    The figures of each run are kept in the lab's folder, and the same command goes on where it stopped. Writes the
    table in the lab's calibration.md. Exit code 3 when a bound is above 0.1 %, or a correct solution lost points.
    """
    with quiet_stdout(active=app.json):
        from grader.calibration.report import complaints, warnings
        from grader.calibration.written import write_table, write_thresholds
        from grader.records import Tier

        settings = app.settings(jobs=jobs, data=data)
        labs, wrong = choose_labs(*read_labs(settings), (name,))
        if wrong:
            return lab_exit(wrong)
        lab = labs[name]
        report, failures = _measured(app, lab, settings, runs, Tier(tier) if tier else None, fresh=fresh)
        path = write_table(lab.folder, report)
        changes = write_thresholds(lab.folder, report) if change else []
        found = complaints(report)
        code = EXIT_LAB if found else 0
        if not app.json:
            _tell(report)
        for text in warnings(report):
            complain(text, kind="warning")
        for text in found:
            complain(f"{lab.id}: {text}")
        for text in failures:
            complain(f"{text} (not counted)")
            code = EXIT_OURS
        for text in changes:
            say(f"lab.toml: {text}", err=app.json)
        say(f"written: {path}", err=app.json)
    if app.json:
        return write("calibrate", code, _content(report) | {"found": found, "changed": changes, "failures": failures})
    return code


def _measured(app: App, lab: Lab, settings: Any, runs: int, tier: Any, *, fresh: bool) -> tuple[Report, list[str]]:
    """Do the runs that are missing, keep each, and report on all."""
    from grader import datasets
    from grader.calibration.kept import Run, kept_path, read_runs, write_runs
    from grader.calibration.report import weigh
    from grader.calibration.trials import missing, run_trials, styles
    from grader.cli.progress import watch
    from grader.records import Tier

    tier = datasets.resolve(lab.data, settings.data, tier).tier if lab.data != "none" else Tier.FULL
    among = styles(lab)
    path = kept_path(lab.folder, tier)
    kept: list[Run] = [] if fresh else read_runs(path, lab.id)
    trials = missing(kept, among, runs)
    failures: list[str] = []
    say(f"{lab.id} ({tier.value} data): {len(kept)} runs are kept, {len(trials)} to do", err=True)

    def note() -> str:
        return f"{several(len(kept), 'run is', 'runs are')} kept; the same command goes on"

    with interruptible(note), watch(app, len(trials)) as show:
        for run in run_trials(lab, settings, trials, tier=tier, jobs=settings.jobs, on_event=show) if trials else ():
            if isinstance(run, str):
                failures.append(run)
                continue
            kept.append(run)
            write_runs(path, lab.id, tier, kept)
    return weigh(lab, tier, kept, among), failures


def _tell(report: Report) -> None:
    from grader.calibration.written import loss_row, proposal

    title = f"{report.lab} ({report.tier.value} tier): {several(report.runs, 'run', 'runs')} of correct solutions"
    if report.weighed:
        columns = ["check", "notebook", "runs", "mean", "sd", "lowest", "5 %", "median", "95 %", "highest", "full"]
        spreads = table(title, columns, right=columns[2:])
        for weighed in report.weighed:
            for spread in weighed.spreads:
                figures = [f"{value:.4f}" for value in (spread.mean, spread.sd, *spread.quantiles)]
                name = f"{spread.style} (baseline)" if spread.baseline else spread.style
                spreads.add_row(weighed.check, name, str(spread.runs), *figures, str(spread.full))
        print_table(spreads)
        columns = ["check", "threshold", "tail", "fit, p", "misses", "at most", "full", "fair", "floor", "baseline"]
        bounds = table("", columns, right=columns[3:])
        for weighed in report.weighed:
            bounds.add_row(*proposal(weighed))
        print_table(bounds)
    losses = table("", ["other check", "runs", "lost a point", "at most"], right=["runs", "lost a point", "at most"])
    for loss in report.losses:
        losses.add_row(*loss_row(loss))
    print_table(losses)


def _content(report: Report) -> dict[str, Any]:
    import msgspec

    content: dict[str, Any] = msgspec.to_builtins(report)
    return content | {"holds": report.holds}
