"""A rejected document goes back where it belonged, by the very command that the run's last line names."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests import support
from tests.support.commands import Ran, run

GOOD = {"_id": "good", "n": 1}
BAD = {"_id": "bad", "n": 2}


def commands(output: str) -> list[list[str]]:
    """The whole commands that a run's last line names; credentials come from the environment."""
    found = re.search(r"after a fix: (migrator [^\n]*?)(?: \(set [^\n]*)?$", output, re.MULTILINE)
    assert found, output
    return [shlex.split(command)[1:] for command in found[1].split("; ")]


class Place:
    """A server with a database that has something else under the id `bad`."""

    def __init__(self, url: str, prefix: str) -> None:
        parts = urlsplit(url)
        self.raw = url.rstrip("/")
        self.shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
        self.prefix = prefix
        self.database = f"{prefix}people"

    def occupy(self) -> None:
        """Lay another document in the way."""
        assert support.request("PUT", f"{self.raw}/{self.database}")[0] in {201, 202}
        assert support.request("PUT", f"{self.raw}/{self.database}/bad", {"other": True})[0] in {201, 202}

    def clear(self) -> None:
        """Take it away: that is the fix."""
        found = support.get(f"{self.raw}/{self.database}/bad")
        assert found["other"] is True
        support.request("DELETE", f"{self.raw}/{self.database}/bad?rev={found['_rev']}")

    def databases(self) -> list[str]:
        """Those of this test."""
        return sorted(name for name in support.get(f"{self.raw}/_all_dbs") if name.startswith(self.prefix))

    def documents(self) -> dict[str, dict[str, Any]]:
        """What is there, without revisions."""
        return support.plain(support.documents(self.raw, self.database))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server_url: str, database_prefix: str) -> Place:
    """A folder of one's own to work in, and the server's credentials in the environment."""
    monkeypatch.chdir(tmp_path)
    parts = urlsplit(server_url)
    if parts.username:
        monkeypatch.setenv("COUCHDB_USER", parts.username)
        monkeypatch.setenv("COUCHDB_PASSWORD", parts.password or "")
    return Place(server_url, database_prefix)


def source(*documents: dict[str, Any] | str) -> None:
    """A folder with the collection `Users`."""
    Path("in").mkdir()
    lines = [text if isinstance(text, str) else json.dumps(text) for text in documents]
    Path("in/Users.ndjson").write_text("\n".join(lines) + "\n", encoding="utf-8")


def mapped(place: Place) -> tuple[str, ...]:
    """A name that the collection would not have by itself."""
    return ("--to", place.shown, "--map", f"Users={place.database}")


def in_the_url(place: Place) -> tuple[str, ...]:
    """The database in the target's URL."""
    return ("--to", f"{place.shown}/{place.database}")


def with_credentials(place: Place) -> tuple[str, ...]:
    """Credentials that no hint may show."""
    return ("--to", place.raw, "--map", f"Users={place.database}")


@pytest.mark.parametrize("target", [mapped, in_the_url, with_credentials])
@pytest.mark.parametrize(
    "more",
    [
        (),
        ("--rejects", "r one's.ndjson", "--checkpoint", "c.json"),
        ("--on-conflict", "fail", "--max-attempts", "3", "--timeout", "20.5"),
        ("--transform", "set:by=job"),
        ("--sort", "always"),
    ],
    ids=lambda words: " ".join(words) or "plain",
)
def test_the_named_command_writes_it_where_it_belonged(
    place: Place, target: Callable[[Place], tuple[str, ...]], more: tuple[str, ...]
) -> None:
    """After the fix the hint is run as it is: the document is there, and no database of another name."""
    place.occupy()
    source(GOOD, BAD)
    ran = run("run", "-q", "--from", "in", *target(place), *more, with_errors=True)
    assert ran.code == 3, ran.output
    if urlsplit(place.raw).password:
        assert f":{urlsplit(place.raw).password}@" not in ran.output
    place.clear()
    for command in commands(ran.output):
        again = run(*command, "-q", with_errors=True)
        assert again.code == 0, again.output
    by = {"by": "job"} if "set:by=job" in more else {}
    assert place.documents() == {"good": {**GOOD, **by}, "bad": {**BAD, **by}}
    assert place.databases() == [place.database]


def test_only_what_is_still_to_be_transformed_is(place: Place) -> None:
    """What was rejected at the target is kept as it was sent; the rest goes through the run's transformers."""
    place.occupy()
    source({"sku": "good"}, {"sku": "bad"}, '{"sku": "torn", "n": NaN}')
    ids = ("--transform", "id:template={sku}", "--transform", "rename:sku=was")
    ran = run("run", "-q", "--from", "in", *mapped(place), *ids, "--rejects", "r", with_errors=True)
    assert ran.code == 3, ran.output
    place.clear()
    found = commands(ran.output)
    assert [("--stage" in words, "--transform" in words) for words in found] == [(True, False), (True, True)]
    # Fixed by hand, as a text.
    text = Path("r").read_text(encoding="utf-8")
    Path("r").write_text(text.replace("NaN", "null"), encoding="utf-8")
    for command in found:
        again = run(*command, "-q", with_errors=True)
        assert again.code == 0, again.output
    assert place.documents() == {
        "good": {"_id": "good", "was": "good"},
        "bad": {"_id": "bad", "was": "bad"},
        "torn": {"_id": "torn", "was": "torn", "n": None},
    }
    assert place.databases() == [place.database]


def test_a_transformer_fixes_what_is_almost_a_document(place: Place) -> None:
    """NaN and bytes that are not UTF-8 are kept to the byte, with their id, and refused until they are fixed."""
    Path("in").mkdir()
    Path("in/Users.ndjson").write_bytes(b'{"_id": "a", "n": NaN, "m": 1}\n{"_id": "b", "n": "caf\xe9", "m": 1}\n')
    ran = run("run", "-q", "--from", "in", *mapped(place), "--rejects", "r", with_errors=True)
    assert ran.code == 3, ran.output
    assert [json.loads(line)["id"] for line in Path("r").read_text().splitlines()] == ["a", "b"]
    (command,) = commands(ran.output)
    for fix in ((), ("--transform", "drop:m")):
        again = run(*command, *fix, "-q", "--rejects", f"r{len(fix)}", with_errors=True)
        assert again.code == 3, again.output
        assert place.documents() == {}
    # What is rejected again can be retried again.
    again = run("retry", "r2", "--to", place.shown, "--transform", "drop:n", "-q", with_errors=True)
    assert again.code == 0, again.output
    assert place.documents() == {"a": {"_id": "a", "m": 1}, "b": {"_id": "b", "m": 1}}
    assert place.databases() == [place.database]


def old_line(**more: Any) -> str:
    """A line as the version before wrote it."""
    frame = {"collection": "Users", "id": "bad", "stage": "load", "error": "conflict", "reason": "r"}
    return json.dumps({**frame, "document": BAD, **more}) + "\n"


def test_files_of_the_version_before_go_by_the_usual_rule(place: Place) -> None:
    """They hold no database: a map or the target's URL says it, as before."""
    Path("r").write_text(old_line(collection=f"{place.prefix}Users"))
    assert run("retry", "r", "--to", place.shown, "-q").code == 0
    assert place.databases() == [f"{place.prefix}users"]
    assert run("retry", "r", "--to", f"{place.shown}/{place.database}", "-q").code == 0
    assert place.documents() == {"bad": BAD}


def test_lines_of_several_runs_in_one_file(place: Place) -> None:
    """Each goes where it was meant to, also where one collection went to two databases, or two to one."""
    people, others = place.database, f"{place.prefix}others"
    lines = [
        old_line(database=people),
        old_line(database=others, document={"_id": "o"}),
        old_line(collection="More", database=people, document={"_id": "m"}),
    ]
    Path("r").write_text("".join(lines))
    ran = run("retry", "r", "--to", place.shown, "-q")
    assert ran.code == 0, ran.output
    assert place.documents() == {"bad": BAD, "m": {"_id": "m"}}
    assert support.plain(support.documents(place.raw, others)) == {"o": {"_id": "o"}}
    assert place.databases() == sorted([people, others])


def test_a_map_and_a_url_count_before_what_the_file_says(place: Place) -> None:
    """Whoever names another place wants it."""
    elsewhere = f"{place.prefix}elsewhere"
    Path("r").write_text(old_line(database=place.database))
    assert run("retry", "r", "--to", place.shown, "--map", f"Users={elsewhere}", "-q").code == 0
    assert run("retry", "r", "--to", f"{place.shown}/{elsewhere}2", "-q").code == 0
    assert place.databases() == [elsewhere, f"{elsewhere}2"]


def test_a_system_database_is_named_by_hand(place: Place) -> None:
    """A file alone makes no user."""
    Path("r").write_text(old_line(database="_users"))
    ran: Ran = run("retry", "r", "--to", place.shown, "-q")
    assert (ran.code, "_users" in ran.output) == (2, True)
    assert place.databases() == []


def test_a_tap_s_rejects_go_back_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint of singer-target is the whole command as well."""
    messages = [
        {"type": "SCHEMA", "stream": "Users", "schema": {}, "key_properties": ["id"]},
        {"type": "RECORD", "stream": "Users", "record": {"id": "good"}},
        {"type": "RECORD", "stream": "Users", "record": {"id": "bad"}},
    ]
    place.occupy()
    Path("tap").write_text("".join(json.dumps(message) + "\n" for message in messages))
    with Path("tap").open("rb") as tap:
        monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": tap})())
        flags = ("--map", f"Users={place.database}", "--on-conflict", "fail")
        ran = run("run", "-q", "--from", "singer:tap", "--to", place.shown, *flags, with_errors=True)
    assert ran.code == 3, ran.output
    place.clear()
    for command in commands(ran.output):
        assert run(*command, "-q").code == 0
    assert set(place.documents()) == {"good", "bad"}
    assert place.databases() == [place.database]


@pytest.mark.parametrize("twice", [False, True])
def test_a_folder_s_file_gets_what_it_lacked(place: Place, twice: bool) -> None:
    """With all that it has; and what is there already is not written twice."""
    source(GOOD, '{"_id": "torn", "n": NaN}')
    ran = run("run", "-q", "--from", "in", "--to", "out", "--rejects", "r", with_errors=True)
    assert ran.code == 3, ran.output
    Path("r").write_text(Path("r").read_text().replace("NaN", "3"))
    (command,) = commands(ran.output)
    for _ in range(1 + twice):
        again = run(*command, "-q", with_errors=True)
        assert again.code == 0, again.output
    lines = [json.loads(line) for line in Path("out/Users.ndjson").read_text().splitlines()]
    assert lines == [GOOD, {"_id": "torn", "n": 3}]


def test_what_follows_changes_goes_back(place: Place) -> None:
    """Rejects of --since-last name the target's database."""
    place.occupy()
    origin = f"{place.prefix}origin"
    support.request("PUT", f"{place.raw}/{origin}")
    support.request("PUT", f"{place.raw}/{origin}/bad", {"n": 2})
    flags = ("--map", f"{origin}={place.database}", "--since-last", "--checkpoint", "c", "--rejects", "r")
    ran = run("run", "-q", "--from", f"{place.raw}/{origin}", "--to", place.shown, *flags, with_errors=True)
    assert ran.code == 3, ran.output
    place.clear()
    for command in commands(ran.output):
        assert run(*command, "-q").code == 0
    assert place.documents() == {"bad": BAD}
    assert place.databases() == sorted([origin, place.database])
