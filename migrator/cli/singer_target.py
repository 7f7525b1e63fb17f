"""`migrator singer-target`: write what a Singer tap sends."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from migrator.cli import options
from migrator.cli.flags import flags
from migrator.cli.rendering import rejected_text, retry_advice
from migrator.config import JobConfig
from migrator.errors import EXIT_REJECTS

REJECTS = "migrator-singer.rejects.ndjson"
# What a tap sends is the newest.
DEFAULTS = JobConfig(on_conflict="overwrite")
POLICY = "What to do when the target holds other content under the same id; overwrite replaces it."


@click.command()
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
    click.echo(f"Records: {shown or 'none'}.", err=True)
    if counts.rejected:
        advice = retry_advice(rejects.kept, config, {}) if rejects.kept else ""
        click.echo(f"{rejected_text(counts.rejected)}. {advice}", err=True)
        sys.exit(EXIT_REJECTS)


def _print_state(text: str) -> None:
    # The one thing that a tap's runner reads, so at once and without what a terminal would add.
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
