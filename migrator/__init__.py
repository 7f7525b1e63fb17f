"""Move data into and out of Apache CouchDB without losing a document.

    extractor  →  transformers  →  loader   →  checkpoint
    (source)      (pure            (target,     (moves after what
                   functions)       one outcome  is settled)
                                    for each)

>>> import migrator, tempfile
>>> service = {"agents": {"a-1": {"name": "Ada"}, "a-2": {"name": "Bob", "retired": True}}}
>>> with tempfile.TemporaryDirectory() as folder:
...     report = migrator.run(service, folder + "/out", transform=["where:!retired"], checkpoint=folder + "/cp")
>>> report.ok, report.totals.written, report.totals.filtered
(True, 1, 1)

A source is text as on the command line, or an object; a target is text. Everything else is a keyword of
`migrator.config.JobConfig`. Read `migrator.model` first.
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

from migrator.version import __version__

if TYPE_CHECKING:
    from migrator.model import Report
    from migrator.server.move.plan import ServerPlan
    from migrator.server.move.result import Applied
    from migrator.verification.result import VerifyResult

__all__ = ["__version__", "apply", "plan_server", "run", "verify"]

# Arguments of the functions behind these, not fields of their options.
_EXTRAS = ("config", "environ", "listener", "stopping")


def run(source: object, target: str = "", **options: Any) -> Report:
    """Move documents from a source to a target.

    Args:
        source: SOURCE as on the command line, or a mapping, a database service or an Extractor.
        target: TARGET as on the command line; COUCHDB_URL when empty.
        options: further fields of JobConfig, and `listener` and `stopping` as in `migrator.jobs.run.run_job`.

    Returns:
        The report: per collection, read = written + unchanged + skipped + filtered + rejected.

    Raises:
        MigratorError: see `migrator.errors`; the checkpoint is saved.
    """
    # Imported late: `import migrator` alone must cost nothing.
    from migrator.jobs.dispatch import job_of, run_any

    config, around = job_of(source, target, options)
    return run_any(config, **around).report


def verify(source: object, target: str = "", **options: Any) -> VerifyResult:
    """Compare what a source holds, after its transformers, with a target.

    Args:
        source: as for `run`.
        target: as for `run`.
        options: as for `run`.

    Returns:
        Per collection how many documents match, and where the others differ, are missing or extra.

    Raises:
        MigratorError: a side is out of reach. Differences are in the result, not raised.
    """
    from migrator.jobs.dispatch import job_of
    from migrator.verification.job import verify_job

    config, around = job_of(source, target, options)
    return verify_job(config, **around)


def plan_server(source: str, target: str, **options: Any) -> ServerPlan:
    """Plan the move of a whole server: look at both, write nothing lasting.

    Args:
        source: the server that is left, a URL without a database.
        target: the server that is moved to.
        options: fields of `migrator.server.move.options.PlanOptions`, and `config`, `environ`, `listener` and
            `stopping` as in `migrator.server.move.make_plan.plan_server`.

    Returns:
        The plan: what to create, copy and set, in order; `apply` takes it.

    Raises:
        MigratorError: a side is out of reach, or something asked for cannot be.
    """
    from migrator.server.move import make_plan
    from migrator.server.move.options import PlanOptions

    extras = {name: options.pop(name) for name in _EXTRAS if name in options}
    return make_plan.plan_server(source, target, PlanOptions(**options), **extras)


def apply(plan: ServerPlan | str | PathLike[str], **options: Any) -> Applied:
    """Do exactly what a plan says; a plan or its file.

    Args:
        plan: the plan.
        options: fields of `migrator.server.move.options.ApplyOptions`, and `config`, `environ`, `listener` and
            `stopping` as in `migrator.server.move.apply.apply_plan`.

    Returns:
        What was done with each database, and what failed.

    Raises:
        MigratorError: see `migrator.errors`; the checkpoint is saved.
    """
    from pathlib import Path

    from migrator.server.move.apply import apply_plan
    from migrator.server.move.options import ApplyOptions
    from migrator.server.move.plan import ServerPlan, load_plan

    made = plan if isinstance(plan, ServerPlan) else load_plan(Path(plan))
    extras = {name: options.pop(name) for name in _EXTRAS if name in options}
    for name in ("checkpoint", "rejects"):
        if options.get(name) is not None:
            options[name] = Path(options[name])
    return apply_plan(made, ApplyOptions(**options), **extras)
