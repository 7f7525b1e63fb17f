"""Whole jobs as functions, with the names of their commands: the same code runs for both.

Each takes by keyword what its command takes by flags, and gives a `migrator.report.result.Result`.
"""

from __future__ import annotations

import os
import pathlib
from dataclasses import replace
from typing import Unpack

from migrator.backup.options import BackupOptions, RestoreOptions
from migrator.backup.result import RevisionsResult
from migrator.config import JobConfig
from migrator.config.option import CommandOptions
from migrator.couch.places import checked_place
from migrator.fixtures.options import Masking, SeedOptions
from migrator.fixtures.seeding import SeedResult, seed_whole
from migrator.fixtures.staging import Staged
from migrator.functions.arguments import (
    ApplyArguments,
    BackupArguments,
    Path,
    PlanArguments,
    PlanServerArguments,
    RestoreArguments,
    RetryArguments,
    RunArguments,
    SeedArguments,
    VerifyArguments,
)
from migrator.functions.reading import asked, documented
from migrator.jobs.registry import server_text
from migrator.jobs.run import make_plan
from migrator.report.result import JobPlan
from migrator.server.move.options import ApplyOptions, PlanOptions
from migrator.server.move.plan import ServerPlan, load_plan, save_plan
from migrator.server.move.result import Applied
from migrator.verification.result import VerifyResult
from migrator.verification.run import RunResult, retry_whole, run_whole

__all__ = ["apply", "backup", "plan", "plan_server", "restore", "retry", "run", "seed", "verify"]


@documented(RunArguments)
def run(source: object, target: Path = "", **options: Unpack[RunArguments]) -> RunResult:
    """Move documents from a source to a target.

    Args:
        source: SOURCE as on the command line, or a mapping, a database service, a function that gives either, or
            an Extractor.
        target: TARGET as on the command line; COUCHDB_URL when empty.
        options: see `help(migrator.run)`.

    Returns:
        The report: per collection, read = written + unchanged + skipped + filtered + rejected.

    Raises:
        MigratorError: see `migrator.errors`; the checkpoint is saved.
    """
    with asked("run", RunArguments, options) as given:
        config, extractor = given.job(source, target)
        return given.watched(config, lambda around: run_whole(config, source=extractor, **around))


@documented(VerifyArguments)
def verify(source: object, target: Path = "", **options: Unpack[VerifyArguments]) -> VerifyResult:
    """Compare what a source holds, after its transformers, with a target.

    Args:
        source: as for `run`.
        target: as for `run`.
        options: see `help(migrator.verify)`.

    Returns:
        Per collection how many documents match, and where the others differ, are missing or extra.

    Raises:
        MigratorError: a side is out of reach. Differences are in the result, not raised.
    """
    from migrator.verification.job import verify_job

    with asked("verify", VerifyArguments, options) as given:
        config, extractor = given.job(source, target)
        file = given.get("differences", None)
        differences = None if file is None else os.fspath(file)
        result = verify_job(config, differences=differences, source=extractor, **given.around)
        result.write(config.report)
        return result


@documented(PlanArguments)
def plan(source: object, target: Path = "", **options: Unpack[PlanArguments]) -> JobPlan:
    """Look at what `run` with the same arguments would create, map and write; write nothing.

    Args:
        source: as for `run`.
        target: as for `run`.
        options: see `help(migrator.plan)`.

    Returns:
        The plan; its `to_dict()` is what `migrator plan --json` prints.

    Raises:
        MigratorError: what a run would meet at its start.
    """
    with asked("plan", PlanArguments, options) as given:
        config, extractor = given.job(source, target)
        return JobPlan(make_plan(config, source=extractor, **given.around))


@documented(RetryArguments)
def retry(file: Path, target: Path = "", **options: Unpack[RetryArguments]) -> RunResult:
    """Write the documents of a reject file again, after a fix.

    Args:
        file: the reject file that a run has left; its result names it.
        target: as for `run`.
        options: see `help(migrator.retry)`.

    Returns:
        The report, as of a run; what is rejected again is in another file, which it names.

    Raises:
        MigratorError: there is no such file, or as of a run.
    """
    with asked("retry", RetryArguments, options) as given:
        config = given.made(JobConfig, target=os.fspath(target))
        stages = given.made(CommandOptions).stages
        return retry_whole(file, config, stages=stages, **given.around)


@documented(BackupArguments)
def backup(source: str, place: Path, **options: Unpack[BackupArguments]) -> RevisionsResult:
    """Write databases to a place: all the first time, what has changed since then every other time.

    Args:
        source: a server's URL, or that of one database; COUCHDB_URL when empty.
        place: a folder, or what `migrator backup --to` takes.
        options: see `help(migrator.backup)`.

    Returns:
        What became of each database.

    Raises:
        MigratorError: server or place are out of reach; what failed of a single database is in the result.
    """
    from migrator.backup.create import run_backup

    with asked("backup", BackupArguments, options) as given:
        source = server_text(source, "source", given.around.get("environ"))
        config = given.part("metrics", "ping", "webhook", "prove", "rejects", "report", source=source)
        settings = given.made(BackupOptions, place=os.fspath(place))
        result = given.watched(config, lambda around: run_backup(config, settings, **around))
        result.write(config.report)
        return result


@documented(RestoreArguments)
def restore(place: Path, target: str = "", **options: Unpack[RestoreArguments]) -> RevisionsResult:
    """Write databases of a place back to a server, with the very revisions that they had.

    Args:
        place: where backups are.
        target: a server's URL, or that of one database; COUCHDB_URL when empty.
        options: see `help(migrator.restore)`.

    Returns:
        What became of each database.

    Raises:
        MigratorError: server or place are out of reach; what failed of a single database is in the result.
    """
    from migrator.backup.restore import run_restore

    with asked("restore", RestoreArguments, options) as given:
        target = server_text(target, "target", given.around.get("environ"))
        names = ("metrics", "ping", "webhook", "rejects", "batch_docs", "batch_bytes", "in_flight", "report")
        config = given.part(*names, target=target)
        settings = given.made(RestoreOptions, place=os.fspath(place))
        result = given.watched(config, lambda around: run_restore(config, settings, **around))
        result.write(config.report)
        return result


@documented(SeedArguments)
def seed(fixtures: object, target: str = "", **options: Unpack[SeedArguments]) -> SeedResult | Staged:
    """Load fixtures into databases of a server. Seeding twice writes nothing.

    Args:
        fixtures: a folder of fixtures; or a server's URL, a mapping or a database service, of which a sample is
            written, masked.
        target: a server's URL; COUCHDB_URL when empty.
        options: see `help(migrator.seed)`.

    Returns:
        What was written to each database, or with `diff` what differs.

    Raises:
        MigratorError: the fixtures have faults, all of which it names; or as of a run.
    """
    with asked("seed", SeedArguments, options) as given:
        config, extractor = given.job(fixtures, target)
        if extractor is None:
            config = replace(
                config, source=checked_place(config.source, "fixtures", known=("memory",), reads=True)
            )
        more = given.made(CommandOptions)
        settings = given.made(SeedOptions, keep_users=bool(more.prefix))
        result = seed_whole(
            config,
            settings,
            given.made(Masking),
            prefix=more.prefix,
            diff=more.diff,
            now=more.now or (given.around.get("environ") or os.environ).get("MIGRATOR_NOW", ""),
            source=extractor,
            **given.around,
        )
        result.write(config.report)
        return result


@documented(PlanServerArguments)
def plan_server(source: str, target: str, **options: Unpack[PlanServerArguments]) -> ServerPlan:
    """Plan the move of a whole server: look at both, write nothing lasting.

    Args:
        source: the server that is left, a URL without a database.
        target: the server that is moved to.
        options: see `help(migrator.plan_server)`.

    Returns:
        The plan: what to create, copy and set, in order; `apply` takes it.

    Raises:
        MigratorError: a side is out of reach, or something asked for cannot be.
    """
    from migrator.server.move.make_plan import plan_server as make

    with asked("plan_server", PlanServerArguments, options) as given:
        config = given.part()
        made = make(source, target, given.made(PlanOptions), config=config, **given.around)
        if output := given.made(CommandOptions).output:
            save_plan(made, output)
        return made


@documented(ApplyArguments)
def apply(plan: ServerPlan | Path, **options: Unpack[ApplyArguments]) -> Applied:
    """Do exactly what a plan says.

    Args:
        plan: the plan, or its file.
        options: see `help(migrator.apply)`.

    Returns:
        What was done with each database, and what failed.

    Raises:
        MigratorError: see `migrator.errors`; the checkpoint is saved.
    """
    from migrator.server.move.apply import apply_plan

    with asked("apply", ApplyArguments, options) as given:
        file = None if isinstance(plan, ServerPlan) else pathlib.Path(plan)
        made = plan if isinstance(plan, ServerPlan) else load_plan(pathlib.Path(plan))
        keep = given.get("keep_checkpoint", None)
        keep = "checkpoint" in options if keep is None else keep
        settings = given.made(ApplyOptions, keep_checkpoint=keep)
        config = given.part("report", "batch_docs", "batch_bytes")
        settings = settings if file is None else settings.beside(file)
        result = apply_plan(made, settings, config=config, **given.around)
        result.write(config.report)
        return result
