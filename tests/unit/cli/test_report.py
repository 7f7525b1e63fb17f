"""`migrator report`: a report as a table or a page, and what is not a report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from migrator.cli import cli
from migrator.errors import ConfigError
from tests.unit.report.example import example


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a report."""
    (tmp_path / "report.json").write_text(json.dumps(example()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def report(*args: str, stdin: str | None = None) -> Result:
    """Run the command; its errors are raised."""
    return CliRunner().invoke(cli, ["report", *args], input=stdin, standalone_mode=False, catch_exceptions=False)


@pytest.mark.usefixtures("folder")
def test_prints_the_table_of_run_and_verification() -> None:
    """As the run itself had printed it."""
    text = report("report.json").stdout
    assert "4,000 documents accounted for in 8.0 s (500/s)" in text
    assert "Source and target differ. 3,900 documents in 3.0 s" in text


def test_writes_the_page_beside_the_report_or_where_named(folder: Path) -> None:
    """And says so on standard error, so that standard output stays for results."""
    done = report("report.json", "--html")
    assert (done.stdout, done.stderr) == ("", "Wrote report.html.\n")
    report("report.json", "--html", "other.html")
    printed = report("report.json", "--html", "-").stdout
    page = (folder / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert page == (folder / "other.html").read_text() == printed


@pytest.mark.usefixtures("folder")
def test_prints_a_few_lines_for_mail_and_chat() -> None:
    """The verdict first, then what stands in the way of it; a page has no such form."""
    text = report("report.json", "--format", "text").stdout
    assert text.startswith("NOT OK: 13 of 4,000 documents were rejected\n")
    assert "rejected, 12 x forbidden: forbidden by the design document\n" in text
    verification = json.dumps(example()["verification"])
    assert report("-", "--format", "text", stdin=verification).stdout.splitlines() == [
        "NOT OK: Source and target differ",
        "verified: 1 different, 1 missing, 0 extra (3,900 documents compared)",
    ]
    with pytest.raises(ConfigError, match="--format does nothing"):
        report("report.json", "--html", "--format", "text")


def test_reads_standard_input() -> None:
    """`migrator run --report - | migrator report - --html page.html`."""
    text = json.dumps(example()["verification"])
    assert "Source and target differ" in report("-", stdin=text).stdout
    assert report("-", "--html", stdin=text).stdout.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("{}", "is not a report"),
        ('{"schema": 1, "differences": 5}', "not a result of a verification"),
        (json.dumps({**example(), "verification": {"ok": True}}), "not a result of a verification"),
    ],
)
def test_says_what_is_no_report(folder: Path, text: str, message: str) -> None:
    """By name, with what to name in its place."""
    (folder / "x.json").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        report("x.json")
    assert "x.json" in str(caught.value)
    assert caught.value.hint


def test_never_writes_over_the_report(folder: Path) -> None:
    """A page by the report's own name is refused; a file that is not there is named."""
    before = (folder / "report.json").read_text()
    with pytest.raises(ConfigError, match=r"report\.json is the report itself"):
        report("report.json", "--html", "report.json")
    assert (folder / "report.json").read_text() == before
    with pytest.raises(ConfigError, match=r"Report nothing\.json cannot be read: No such file"):
        report("nothing.json")
    with pytest.raises(ConfigError, match=r"cannot be written"):
        report("report.json", "--html", "no/such/folder.html")


def test_run_with_verify_puts_both_into_one_report(folder: Path) -> None:
    """On standard output one JSON object alone; in a file the same; the text goes where it may."""
    (folder / "in").mkdir()
    (folder / "in" / "a.ndjson").write_text('{"_id":"1"}\n{"_id":"2"}\n')
    runner = CliRunner()
    run = ["run", "--from", "in", "--to", "out", "--verify", "--report"]
    done = runner.invoke(cli, [*run, "-"], standalone_mode=False, catch_exceptions=False)
    value = json.loads(done.stdout)
    assert value["verification"]["ok"]
    assert value["verification"]["totals"]["equal"] == 2
    assert "Verified: both sides hold the same." in done.stderr
    done = runner.invoke(cli, [*run, "r.json"], standalone_mode=False, catch_exceptions=False)
    assert "Verified: both sides hold the same." in done.stdout
    assert json.loads((folder / "r.json").read_text())["verification"]["ok"]
    assert "✓ verified" in report("r.json", "--html", "-").stdout
