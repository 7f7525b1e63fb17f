"""`migrator status`: show how far a checkpoint is."""

from __future__ import annotations

import json
from pathlib import Path

import click

from migrator.checkpoint.file import CheckpointFile
from migrator.errors import CheckpointError
from migrator.report.summary import table


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(checkpoint: Path, as_json: bool) -> None:
    """Show how far the job of a CHECKPOINT file is.

    \b
    Example:
      migrator status nightly.json
    """
    file = CheckpointFile(checkpoint)
    if not file.exists():
        raise CheckpointError(
            f"There is no checkpoint {checkpoint}.", hint="Name the file that run --checkpoint wrote."
        )
    found = file.load()
    if as_json:
        value = {
            "finished": found.finished,
            "job": found.job,
            "collections": {
                name: {"finished": state.finished, **state.counts.as_dict()}
                for name, state in found.collections.items()
            },
            "totals": found.totals.as_dict(),
        }
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
        return
    rows: list[tuple[str, ...]] = [
        ("collection", "state", "read", "written", "unchanged", "skipped", "filtered", "rejected")
    ]
    for name, state in found.collections.items():
        counts = state.counts
        numbers = (counts.read, counts.written, counts.unchanged, counts.skipped, counts.filtered, counts.rejected)
        rows.append((name, "finished" if state.finished else "under way", *(f"{number:,}" for number in numbers)))
    click.echo(f"from {found.job.get('source')} to {found.job.get('target')}")
    click.echo(table(rows, left=2))
    click.echo(
        "The job is finished."
        if found.finished
        else "The job is not finished. Go on with: migrator run … --resume"
    )
