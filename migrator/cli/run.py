"""`migrator run`, `verify`, `retry` and `singer-target`: move documents, compare them, write what is sent."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from migrator.cli import options, rendering
from migrator.cli.flags import Command, flags
from migrator.cli.messages import print_text, say
from migrator.config import JobConfig
from migrator.config.option import CommandOptions
from migrator.errors import Interrupted

if TYPE_CHECKING:
    from migrator.verification.run import RunResult

REJECTS = "migrator-singer.rejects.ndjson"
# What a tap sends is the newest.
DEFAULTS = JobConfig(on_conflict="overwrite")
POLICY = "What to do when the target holds other content under the same id; overwrite replaces it."


@click.command(cls=Command)
@flags(JobConfig)
@options.log_options
@options.job_option
def run(**values: Any) -> None:
    """Move documents from SOURCE through transformers to TARGET, collection by collection.

    What is there already with equal content is left alone, so a second run writes nothing.

    \b
    Examples:
      migrator run --from memory:app.db:service --to http://localhost:5984
      migrator run --from dump/ --to http://localhost:5984 --resume --checkpoint nightly.json
      migrator run --from export.json --to http://localhost:5984 --transform id:field=sku
      migrator run -c configs/one-shot-migration.toml
      migrator run --from http://a:5984/orders --to http://b:5984/orders --replicate
      migrator run --from dump/ --to http://localhost:5984 --executor dask://scheduler:8786
    """
    from migrator.cli.stopping import stoppable
    from migrator.verification.result import result_to_text
    from migrator.verification.run import run_whole

    config = options.job_config(values)
    watched = options.timed("run", config, json_line=config.json)
    left: list[RunResult] = []

    def moved(result: RunResult) -> None:
        # What was moved is told before it is compared, which may fail; but standard output takes one object.
        left.append(result)
        if config.report != "-":
            rendering.print_run(result)

    with stoppable() as stopping, watched as told:
        try:
            with options.listening(values, told.listener) as listener:
                result = run_whole(config, moved=moved, listener=listener, stopping=stopping)
                left.append(result)
        finally:
            if left and config.report == "-":
                rendering.print_run(left[-1])
        if result.verification is not None:
            print_text(result_to_text(result.verification), beside=config.report == "-" or config.json)
        if result.report.rejected:
            say(rendering.rejects_advice(result), "warning")
        if result.exit_code:
            sys.exit(result.exit_code)
        if stopping.is_set() and not config.follow:
            stopped = Interrupted("Stopped after the last document.", hint="Nothing is left to do.")
            stopped.complete = True
            raise stopped


@click.command(cls=Command)
@options.sides
@flags(
    JobConfig,
    *("checkpoint", "resume", "restart", "transform_workers", "report"),
    help={"checkpoint": "Where the position is kept, for --resume.", "report": options.REPORT},
    default={"checkpoint": ""},
)
@flags(CommandOptions, "differences")
@flags(JobConfig, "in_flight", hidden=True)
@options.connection_options
@options.log_options
@options.job_option
def verify(**values: Any) -> None:
    """Compare what SOURCE holds, after the transformers, with what TARGET holds, document by document.

    Names each missing, extra and different document with the first differing path; exit 4 when there is one.

    \b
    Examples:
      migrator verify --from export.json --to http://localhost:5984
      migrator verify --from memory:app.db:service --to http://localhost:5984 --differences diff.ndjson
    """
    from migrator.verification.job import verify_job
    from migrator.verification.result import result_to_text

    config = options.job_config(values)
    with options.at_work(values) as (listener, stopping):
        result = verify_job(config, differences=values["differences"], listener=listener, stopping=stopping)
    rendering.show(result.to_dict(), result_to_text(result), report=config.report)
    if not result.ok:
        sys.exit(result.exit_code)


@click.command(cls=Command)
@click.argument("rejects_file", metavar="REJECTS", type=click.Path(path_type=Path))
@flags(JobConfig, "target", "collection")
@flags(CommandOptions, "stages")
@flags(
    JobConfig, "map", "transform", "codec", *options.WRITE, "report", "dry_run", help={"dry_run": "Write nothing."}
)
@options.connection_options
@options.log_options
def retry(rejects_file: Path, **values: Any) -> None:
    """Write the documents of the REJECTS file again, after a fix at the target, in the file, or by --transform.

    Each goes to the database that it was meant for, which the file says; --map or a database in TARGET changes
    that. A document that was rejected at the target is kept as it was sent, so only the transformers given here
    apply; --stage extract --stage transform chooses those that the run's transformers are still to be applied to.
    The file itself is left as it is; what is rejected again goes to a new one.

    \b
    Examples:
      migrator retry rejects.ndjson --to http://localhost:5984
      migrator retry rejects.ndjson --to http://localhost:5984 --transform rename:__v=version
    """
    from migrator.verification.run import retry_whole

    with options.at_work(values) as (listener, stopping):
        result = retry_whole(
            rejects_file,
            options.job_config(values),
            stages=values["stages"],
            listener=listener,
            stopping=stopping,
        )
    rendering.print_run(result)
    if result.report.rejected:
        say(rendering.rejects_advice(result), "warning")
        sys.exit(result.exit_code)


# Its standard output is the tap's runner's.
@click.command(cls=Command, output=False)
@flags(
    DEFAULTS,
    "target",
    "map",
    "transform",
    "codec",
    *options.WRITE,
    help={"on_conflict": POLICY},
    default={"rejects": REJECTS},
)
@options.connection_options
@options.log_options
@options.job_option
def singer_target(**values: Any) -> None:
    """Write the records of a Singer tap, read from standard input, to TARGET; a stream goes to a database.

    Standard output gets each STATE once every record before it is written or rejected, so a tap that is started
    again with the last of them goes on where this ended, whatever ended it. Without --on-conflict, a document
    of other content is replaced, as what a tap sends is the newest.

    \b
    Examples:
      tap-github --config tap.json | migrator singer-target --to http://localhost:5984 >> state.json
      migrator singer-target --to http://localhost:5984 --transform drop:_sdc_batched_at
    """
    given = options.job_config(values)
    policy_given = values.get("on_conflict") or (values["job_file"] and given.on_conflict != "fail")
    config = given if policy_given else replace(given, on_conflict=DEFAULTS.on_conflict)
    from migrator.checkpoint.reject_file import RejectFile
    from migrator.integrations.singer import SingerTarget

    with (
        contextlib.closing(RejectFile(Path(config.rejects or REJECTS), shared=True)) as rejects,
        options.at_work(values) as (listener, stopping),
    ):
        target = SingerTarget(config, rejects, _print_state, listener=listener, stopping=stopping)
        counts = target.run(sys.stdin.buffer)
    shown = ", ".join(f"{name} {number}" for name, number in counts.as_dict().items() if number)
    say(f"Records: {shown or 'none'}.")
    if counts.rejected:
        from migrator.report.result import rejects_exit

        advice = rendering.retry_advice(rejects.kept, config, {}, counts.rejected) if rejects.kept else ""
        say(f"{rendering.rejected_text(counts.rejected)}. {advice}", "warning")
        sys.exit(rejects_exit(counts.altered))


def _print_state(text: str) -> None:
    # The one thing that a tap's runner reads, so at once and without what a terminal would add.
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
