"""What help says of a flag is what the code does: its default, its unit, and that what is given arrives."""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from migrator.backup.options import BackupOptions, CatOptions, CopyOptions, RestoreOptions
from migrator.backup.prune import Policy
from migrator.backup.storage.base import open_place
from migrator.cli import COMMANDS, cli
from migrator.cli import __file__ as cli_file
from migrator.cli.backups_check import AgeOptions, DrillOptions
from migrator.cli.backups_show import ShowOptions
from migrator.cli.flags import flags, given, made
from migrator.cli.replicate import ReplicationOptions
from migrator.cli.servers import SandboxOptions, SecureOptions, WaitOptions
from migrator.config import Connection, JobConfig, LogOptions, Output, Watch
from migrator.config.option import CommandOptions, Described, option, options_of
from migrator.config.pace import NUMBERS
from migrator.convert.options import ConvertJob
from migrator.errors import ConfigError
from migrator.fixtures.options import Masking, SeedOptions
from migrator.retry.retrier import RetryPolicy
from migrator.server.move.options import ApplyOptions, PlanOptions
from tests.support.backups import simple, write

ALL = (Connection, Watch, LogOptions, JobConfig, BackupOptions, RestoreOptions, Policy, ConvertJob, SeedOptions)
ALL += (Masking, PlanOptions, ApplyOptions, WaitOptions, SandboxOptions)  # type: ignore[assignment]
ALL += (SecureOptions, ReplicationOptions, DrillOptions, AgeOptions, ShowOptions, CatOptions, CopyOptions)  # type: ignore[assignment]
ALL += (CommandOptions, Output)  # type: ignore[assignment]
A, B = "http://a:5984", "http://b:5984"
# What is typed, and the function behind the command, which is asked what reaches it.
SEAMS: dict[str, tuple[list[str], str]] = {
    "run": (["--from", "in", "--to", "out"], "migrator.verification.run.run_whole"),
    "plan": (["--from", "in", "--to", "out"], "migrator.jobs.run.make_plan"),
    "plan-server": (["--from", A, "--to", B], "migrator.server.move.make_plan.plan_server"),
    "verify": (["--from", "in", "--to", "out"], "migrator.verification.job.verify_job"),
    "retry": (["r.ndjson", "--to", "out"], "migrator.verification.run.retry_whole"),
    "singer-target": (["--to", "out"], "migrator.integrations.singer.SingerTarget"),
    "backup": (["--from", A, "--to", "place"], "migrator.backup.create.run_backup"),
    "restore": (["--from", "place", "--to", A], "migrator.backup.restore.run_restore"),
    "convert": (["--from", "in", "--to", "out"], "migrator.convert.job.convert_leaves"),
    "seed": ([f"{A}/x", "--to", B], "migrator.fixtures.seeding.seed_whole"),
    "snapshot": ([A, "folder"], "migrator.fixtures.snapshot.take"),
    "apply": (["move.json"], "migrator.server.move.apply.apply_plan"),
    "doctor": ([A], "migrator.server.admin.doctor.examine"),
    "secure": ([f"{A}/x", "--user", "u", "--password-file", "p"], "migrator.server.admin.secure.secure"),
    "compact": ([A], "migrator.server.admin.compact.compact"),
    "replicate set-up": (
        ["--from", f"{A}/x", "--to", f"{B}/x"],
        "migrator.server.admin.replications.set_up",
    ),
    "replicate list": ([A], "migrator.server.admin.replications.listed"),
    "replicate start": ([A, "job"], "migrator.server.admin.replications.start"),
    "replicate stop": ([A, "job"], "migrator.server.admin.replications.stop"),
    "wait": ([A], "migrator.cli.servers.wait_for_server"),
    "sandbox": ([], "migrator.sandbox.Sandbox"),
    "backups prune": (["--from", "place", "--keep-within", "7d"], "migrator.backup.prune.plan_pruning"),
    "backups check": (["--from", "place", "--drill", "--to", A], "migrator.backup.restore_test.drill"),
    "backups copy": (["place", "there"], "migrator.backup.copy.run_copy"),
    "report": (["report.json", "--html"], "migrator.report.html.render_page"),
}
# Of these, no option but --json or a pattern goes beyond the command.
WITHOUT_OPTIONS = {"status", "plugins", "completion"}
WITHOUT_OPTIONS |= {f"backups {name}" for name in ("list", "show", "ls", "find", "diff", "cat", "history")}
# Given in `SEAMS`, read before the function is reached, or tested elsewhere with a watchdog of its own.
NOT_CHANGED = frozenset({"source", "target", "place", "ping", "webhook", "metrics", "wait_s", "within"})
# What every command has, or what its log is like.
NOT_CHANGED |= {"quiet", "as_json", "log_level", "log_format"}


class ReachedError(Exception):
    """The function after a command was called with these objects."""


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs a command up to the function after it; the values of all options that reach it, by name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COUCHDB_URL", raising=False)
    Path("r.ndjson").write_text("")
    Path("report.json").write_text("{}")
    Path("p").write_text("secret")
    for name in ("ca_file", "client_cert", "client_key"):
        # A server is made before the function is reached, and looks whether they are there.
        Path(f"{name}.txt").write_text("")
    Path("p").chmod(0o600)
    monkeypatch.setattr("migrator.server.move.plan.load_plan", lambda _: None)
    write(open_place("place"), [simple(1)])
    monkeypatch.setattr("migrator.cli.backups_check.open_cipher", lambda **_: None)
    monkeypatch.setattr("migrator.backup.catalog.Catalog.chosen", lambda *_, **__: ["orders"])

    def run(name: str, *more: str) -> dict[str, Any]:
        typed, function = SEAMS[name]
        importlib.import_module(function.rpartition(".")[0])

        def stub(*args: Any, **named: Any) -> None:
            raise ReachedError(named, *args, *named.values())

        monkeypatch.setattr(function, stub)
        result = CliRunner().invoke(cli, [*name.split(), *typed, *more], standalone_mode=False)
        assert isinstance(result.exception, ReachedError), (name, more, result.exception, result.output)
        plain, *args = result.exception.args
        objects = [one for each in args for one in (each, getattr(each, "config", None))]
        # A command's own option is meant where a job has one of the same name, which it leaves alone.
        known = sorted(filter(dataclasses.is_dataclass, objects), key=lambda one: not isinstance(one, JobConfig))
        return {**{each.name: each.value for one in known for each in options_of(one)}, **plain}

    return run


def command(name: str) -> click.Command:
    """A command, or one of a group."""
    first, *rest = name.split()
    found = cli.get_command(click.Context(cli), first)
    assert found is not None
    return found.commands[rest[0]] if isinstance(found, click.Group) and rest else found


def test_every_command_is_looked_at() -> None:
    """And every flag comes from an option: nothing but `cli/flags` makes one."""
    found = set()
    for name in COMMANDS:
        inner = getattr(command(name), "commands", None)
        found |= {f"{name} {each}" for each in inner} if inner else {name}
    assert found == {*SEAMS, *WITHOUT_OPTIONS}
    folder = Path(cli_file).parent
    made_here = {path.name for path in folder.glob("*.py") if "click.option(" in path.read_text(encoding="utf-8")}
    assert made_here == {"flags.py"}


def shown_defaults(name: str) -> dict[str, str]:
    """By the flag's name, what its help gives as the default."""
    found = {}
    for param in command(name).params:
        text = getattr(param, "help", None) or ""
        if match := re.search(r"\[default: ([^]]*)\]", text):
            found[str(param.name)] = match[1]
    return found


@pytest.mark.parametrize("name", SEAMS)
def test_the_default_that_help_shows_is_the_one_that_is_used(
    name: str, reached: Callable[..., dict[str, Any]]
) -> None:
    """For every flag whose option reaches the function: the number or word, or none where help gives none."""
    used, shown = reached(name), shown_defaults(name)
    typed = {"source", "target", "place"}
    for param in command(name).params:
        if param.name not in used or param.name in typed or getattr(param, "hidden", False):
            continue
        value = used[str(param.name)]
        if isinstance(value, int | float) and not isinstance(value, bool):
            text = shown[str(param.name)]
            assert (
                (f"{value:g}" if isinstance(value, float) else str(value)) == text
                if text[0].isdigit()
                else not value
            ), param.name
        elif isinstance(param.type, click.Choice):
            assert value == shown.get(str(param.name), "") or not value, param.name


@pytest.mark.parametrize("name", SEAMS)
def test_what_is_given_arrives(name: str, reached: Callable[..., dict[str, Any]]) -> None:
    """Each flag with a value, all at once; each that is only given, by itself."""
    words, expected, alone = [], {}, {}
    used = reached(name)
    for param in command(name).params:
        key = str(param.name)
        if not isinstance(param, click.Option) or param.hidden or key in NOT_CHANGED or key not in used:
            continue
        if param.is_flag:
            alone[key] = param.opts[-1]
            continue
        number = param.type in {click.INT, click.FLOAT}
        text = "7" if number else f"{key}.txt"
        if isinstance(param.type, click.Choice):
            text = next(each for each in param.type.choices if each not in {used[key], "newer"})
        value: Any = float(text) if number else Path(text) if isinstance(used[key], Path) else text
        if param.metavar and "=" in param.metavar:
            text, value = "a=b", {"a": "b"}
        elif key in NUMBERS:
            text = value = "7"
        elif param.multiple:
            value = (text,)
        words += [param.opts[-1], text]
        expected[key] = value
    changed = reached(name, *words)
    assert expected == {key: _plain(changed[key], expected[key]) for key in expected}
    for key, flag in alone.items():
        assert reached(name, flag)[key] != used[key], flag


def _plain(value: Any, like: Any) -> Any:
    return str(value) if isinstance(like, str) else value


@pytest.mark.parametrize("kind", ALL)
def test_a_name_and_its_unit_agree(kind: type) -> None:
    """Seconds end in _s, bytes in _bytes; each flag that takes something says what."""
    for each in options_of(kind):
        assert ("SECONDS" == each.option.unit) == each.name.endswith("_s"), each
        assert ("BYTES" == each.option.unit) == each.name.endswith("_bytes"), each
        only_given = each.kind.startswith("bool") or each.option.means
        assert bool(each.option.unit) != bool(only_given or each.option.choices), each
        assert each.option.help.endswith("."), each
        assert f"    {each.name}: {each.option.help}" in (kind.__doc__ or "")


@pytest.mark.parametrize(
    ("kind", "wrong", "said"),
    [
        (LogOptions, {"log_format": "xml"}, r"log_format is 'xml'\. Known are: text, json"),
        (SeedOptions, {"wait_s": 0.0}, "wait_s is 0"),
        (SandboxOptions, {"port": 70_000}, "port is 70000"),
        (BackupOptions, {"place": "p", "databases": "orders"}, ""),
    ],
)
def test_each_class_of_options_checks_its_values(kind: type, wrong: dict[str, Any], said: str) -> None:
    """By itself, without a line in the class; one text is a list of one."""
    if said:
        with pytest.raises(ConfigError, match=said):
            kind(**wrong)
    else:
        assert kind(**wrong).databases == ("orders",)


def test_parts_of_the_library_have_the_same_defaults() -> None:
    """Who uses a part by itself gets what the command gets."""
    assert (RetryPolicy().max_attempts, RetryPolicy().max_outage_s) == (
        Connection().max_attempts,
        Connection().max_outage_s,
    )


@dataclasses.dataclass(frozen=True)
class Sample:
    """Options of each kind."""

    pairs: dict[str, str] = option({}, "Pairs.", unit="A=B")
    wait_s: float | None = option(None, "Wait.", unit="SECONDS", bare=60.0)
    on: bool = option(True, "Off.", flag="--no-on", means={True: False})


# As an annotation is written where it is a text.
Sample.__dataclass_fields__["pairs"].type = "Mapping[str, str]"
Sample.__dataclass_fields__["wait_s"].type = "float | None"
Sample.__dataclass_fields__["on"].type = "bool"


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ([], Sample()),
        (["--no-on"], Sample(on=False)),
        (["--wait"], Sample(wait_s=60.0)),
        (["--wait", "2.5"], Sample(wait_s=2.5)),
        (["--pairs", "a=b", "--pairs", "c=d=e"], Sample(pairs={"a": "b", "c=d": "e"})),
    ],
)
def test_flags_become_options(typed: list[str], expected: Sample) -> None:
    """Negated flags, flags with and without a value, pairs."""
    found: list[Sample] = []
    typing = click.command()(flags(Sample)(lambda **values: found.append(made(Sample, values))))
    typing.main(typed, standalone_mode=False)
    assert found == [expected]


def test_a_wrong_pair_names_the_flag() -> None:
    """And the form that it has."""
    with pytest.raises(ConfigError, match=r"--pairs 'ab' is not of the form A=B"):
        given(Sample, {"pairs": ("ab",)})


def test_an_object_gives_other_defaults() -> None:
    """As doctor, which waits for no server that is ill."""
    found: dict[str, Described] = {each.name: each for each in options_of(Connection(max_attempts=2))}
    assert found["max_attempts"].default == "2"
