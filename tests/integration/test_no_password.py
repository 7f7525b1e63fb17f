"""A URL with a password where a path belongs: no message, and nothing that is written, shows the password."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from migrator.backup.storage.remote import open_fsspec_place
from migrator.cli import COMMANDS, cli
from migrator.errors import EndpointError, MigratorError, without_passwords

SECRET = "geh3im"
URLS = [f"http://joe:{SECRET}@127.0.0.1:1/x", f"https://joe:{SECRET}@ss/w@127.0.0.1:1/x.json"]
SCRIPT = """
import json, sys
from migrator.cli import _main
for words in json.loads(sys.argv.pop()):
    sys.argv[1:] = words
    try:
        _main()
    except SystemExit:
        pass
"""
# What serves, waits or goes elsewhere without end, or takes no path.
PATHS = {"FILE", "FOLDER", "SOURCE", "TARGET", "PLACE", "JOB", "CONFIG", "REJECTS", "PATH"}
LEFT_OUT = {"sandbox", "completion", "plugins"}


def leaves(command: click.Command, name: str) -> list[tuple[list[str], click.Command]]:
    """A command, or those below a group of them."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        return [
            ([*name.split(), below], inner)
            for below in command.list_commands(context)
            if (inner := command.get_command(context, below)) is not None and not isinstance(inner, click.Group)
        ]
    return [([name], command)]


def is_path(param: click.Parameter) -> bool:
    """True for what takes a file, a folder or a place."""
    words = (param.metavar or "", *param.opts, str(param.name))
    return isinstance(param.type, click.Path) or any(
        word.upper().strip("-")
        in {"FILE", "FOLDER", "SOURCE", "TARGET", "PLACE", "JOB", "CONFIG", "REJECTS", "PATH"}
        for word in words
    )


def cases() -> list[tuple[str, str]]:
    """Every command with every option and argument that takes a path."""
    context = click.Context(cli)
    found = []
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        if name in LEFT_OUT:
            continue
        for words, leaf in leaves(command, name):
            found += [(" ".join(words), str(param.name)) for param in leaf.params if is_path(param)]
    return found


def words_for(command: str, name: str, url: str) -> list[str]:
    """The command with the URL for one option, and something for each that it cannot do without."""
    context = click.Context(cli)
    found: click.Command | None = cli
    for word in command.split():
        assert isinstance(found, click.Group)
        found = found.get_command(context, word)
    assert found is not None
    words = command.split()
    for param in found.params:
        value = url if param.name == name else "nothing.ndjson"
        impatient = {"max_attempts": "1", "max_outage_s": "1", "timeout_s": "1"}
        if isinstance(param, click.Option):
            if param.name in impatient:
                words += [param.opts[-1], impatient[str(param.name)]]
            elif param.name in {name, "source", "target"} or param.required:
                words += [param.opts[-1], value]
        elif param.name == name or param.required:
            words.append(value)
    return words


CASES = cases()


def test_every_command_with_a_path_is_tried() -> None:
    """The search above finds them."""
    assert len(CASES) > 60
    found = {name for _, name in CASES}
    assert {"checkpoint", "rejects", "report", "source", "target"} <= found


@pytest.mark.parametrize("command", sorted({command for command, _ in CASES}))
def test_no_message_shows_the_password(command: str, tmp_path: Path) -> None:
    """One process for a command: each of its options has the URL in its turn."""
    tries = [words_for(command, name, url) for each, name in CASES if each == command for url in URLS]
    environ = {key: value for key, value in os.environ.items() if not key.startswith("COUCHDB_")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(tries)],
        stdin=subprocess.DEVNULL,
        cwd=tmp_path,
        env={**environ, "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert SECRET not in done.stdout + done.stderr
    assert not [path for path in tmp_path.rglob("*") if SECRET in path.name]


@pytest.mark.parametrize("url", [f"memory://joe:{SECRET}@bucket/x", f"memory://joe:{SECRET}@b@bucket/x"])
def test_what_a_storage_driver_says_of_a_url_shows_no_password(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names bucket or host as they stand in the URL, without a scheme by which they could be known."""
    place = open_fsspec_place("memory", url)
    bucket = url.removeprefix("memory://").removesuffix("/x")

    def fails(*_: object) -> None:
        raise ValueError(f'Invalid bucket name "{bucket}"')

    monkeypatch.setattr(type(place._system), "cat_file", fails)
    with pytest.raises(EndpointError, match='Invalid bucket name "bucket"') as caught:
        place.read("y")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("http://u:p@h:1/x", "http://h:1/x"),
        ("no file http:/u:p@h/x.lock.", "no file http:/h/x.lock."),
        ("https://token@h/x", "https://h/x"),
        ("http://u:p@ss/w?rd#@h:1/d", "http://h:1/d"),
        ("postgresql://a:b@h/db?x=1", "postgresql://h/db?x=1"),
        ("(http://a:b@h) and dask://u:p@h:1", "(http://h) and dask://h:1"),
        ("'redis://:p@h/0'", "'redis://h/0'"),
        ("http://h:5984/db/a@b", "http://h:5984/db/a@b"),
        ("http://[::1]:5984/db/a@b", "http://[::1]:5984/db/a@b"),
        ("s3://bucket/a@b", "s3://bucket/a@b"),
        ("mail ada@host.org: no", "mail ada@host.org: no"),
        ("no file //u:p@h/x.", "no file //h/x."),
        ("no file https:u:p@h/x.", "no file https:h/x."),
        ("sql://h/db?user=a&password=p;x=1", "sql://h/db?user=a&password=…;x=1"),
        ("no file 'http:u:p@ss@h:1/x'.", "no file 'http:h:1/x'."),
        ("org.couchdb.user:ada@host.org: forbidden", "org.couchdb.user:ada@host.org: forbidden"),
        ("//folder/ada@host.org", "//folder/ada@host.org"),
    ],
)
def test_credentials_are_cut_out_of_a_text(text: str, wanted: str) -> None:
    """And nothing else is."""
    assert without_passwords(text) == wanted
    error = MigratorError(text, hint=text)
    assert (error.message, error.hint, error.args) == (wanted, wanted, (wanted,))


def test_credentials_are_cut_out_of_all_that_a_value_holds() -> None:
    """At every depth, and of the passwords that are known wherever they stand; the value itself stays."""
    value = {"from": "http://u:p@h/x", "transform": ["set:a=http://u:p@h", {"deep": ["secret", 7, None]}]}
    wanted = {"from": "http://h/x", "transform": ["set:a=http://h", {"deep": ["***", 7, None]}]}
    assert without_passwords(value, "secret", "", None) == wanted
    assert value["from"] == "http://u:p@h/x"


def test_a_hint_is_for_who_reads_it() -> None:
    """A program reads of the argument, a command of its flag."""
    error = EndpointError(
        "The server is busy.", hint="Go on with --resume, or --restart: see migrator run --resume."
    )
    assert str(error) == "The server is busy. Go on with resume=True, or restart=True: see migrator run --resume."
    assert error.text == f"{error.message} {error.hint}"
    assert "--resume, or --restart" in error.hint
