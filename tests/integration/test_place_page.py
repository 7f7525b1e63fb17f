"""The page of a place of backups in a real browser: as the report's, whose style, script and pieces it has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from migrator.backup.format.records import DrillRecord, write_record
from migrator.backup.storage.base import open_place
from migrator.naming import file_name
from tests.browser import open_browser, opened_alone, picture
from tests.integration.test_page import BACKGROUND, POOR_CONTRAST
from tests.support.backups import TINY, at, files, simple, write
from tests.support.commands import run_whole

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all."""
    with open_browser() as browser:
        yield browser


def example(folder: Path, databases: tuple[str, ...] = ("orders", "tickets", "users"), nights: int = 40) -> Path:
    """The page of a place as it may look after some weeks: a gap, a damaged snapshot, a failed restore test."""
    place = open_place(str(folder / "backups"))
    for number, database in enumerate(databases):
        parent = None
        for night in range(nights, 0, -1):
            if number == 1 and 12 < night < 17:
                continue
            with at(NOW - timedelta(days=night, minutes=3 * (night % 4)), 40_000 * (number + 1) - 310 * night):
                leaves = [simple(night * 10 + n) for n in range(9 if night % 30 == 10 else 1 + night % 4)]
                parent = write(place, leaves, None if night % 30 == 10 else parent, database=database, **TINY)
    # Of the third newest; those that add to it are lost with it.
    list(files(folder / "backups" / "databases" / file_name(databases[0])))[-5].write_bytes(b"")
    assert run_whole(folder, "backups", "check", "--from", "backups", "-q").returncode == 4
    finished = f"{NOW - timedelta(days=6):%Y-%m-%dT%H:%M:%SZ}"
    write_record(place, databases[0], DrillRecord(finished, ok=True, leaves=39_690))
    write_record(place, databases[-1], DrillRecord(finished, ok=False, differences=2))
    assert run_whole(folder, "backups", "show", "backups", "--html", "page.html").returncode == 4
    return folder / "page.html"


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """The example's page, open; what it asks for and complains of is kept."""
    with opened_alone(browser, example(tmp_path), 900) as page:
        yield page


def test_says_what_there_is(page: Page) -> None:
    """Databases with what was proven, the gap, what is wrong, and every snapshot."""
    expect(page.locator("h1")).to_have_text("3 snapshots of 116 have a problem")
    expect(page.locator(".marks")).to_contain_text("1 gap in the schedule")
    expect(page.locator("#databases")).to_contain_text("2 differences")
    expect(page.locator("#schedule tbody tr")).to_have_count(1)
    expect(page.locator("#schedule")).to_contain_text("tickets")
    expect(page.locator("#state")).to_contain_text("the last check found it damaged")
    rows = page.locator("#all .searchable tbody tr")
    assert rows.count() == 116
    page.get_by_label("Search 116 snapshots").fill("tickets full")
    assert rows.filter(visible=True).count() == 2
    expect(page.locator("#snapshots-found")).to_have_text("2 found")


def test_charts_say_dates_and_numbers(page: Page) -> None:
    """Under the pointer and by keys: on which day, how many documents, how much was stored."""
    chart = page.locator("#documents")
    chart.locator("svg").focus()
    page.keyboard.press("End")
    expect(chart.locator(".readout")).to_have_text(re.compile(r"^at \d{4}-\d\d-\d\d( \d\d:\d\d)?: 239,\d{3}$"))
    page.locator("#stored svg").hover()
    expect(page.locator("#stored .readout")).to_contain_text("incremental")
    assert page.locator("#growth figure").count() == 5
    ticks = page.locator("#documents .axis text").all_text_contents()
    assert 3 <= len(ticks) <= 7
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d( \d\d:\d\d)?", text) for text in ticks)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_in_both_schemes(page: Page, scheme: str) -> None:
    """By day and by night."""
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    assert (page.evaluate(BACKGROUND) < 0.1) is (scheme == "dark")
    assert page.evaluate(POOR_CONTRAST) == []


@pytest.mark.parametrize(("name", "width", "height"), [("narrow", 360, 1200), ("wide", 1100, 900)])
def test_fits_a_screen(page: Page, tmp_path: Path, name: str, width: int, height: int) -> None:
    """Tables scroll by themselves, the page does not."""
    page.set_viewport_size({"width": width, "height": height})
    page.locator("dd").first.evaluate("place => { place.textContent = '/var/backups/couchdb' }")
    picture(page, f"backups-{name}", tmp_path)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_prints_on_few_pages(page: Page) -> None:
    """Without controls, on white, nothing cut off at the side; each table has its first lines."""
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 720, "height": 1000})
    assert page.evaluate(BACKGROUND) == 1
    assert not page.locator("nav").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 720
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b(?!s)", page.pdf(format="A4"))) <= 4


def test_a_name_is_a_name_and_scripts_are_not_needed(browser: Browser, tmp_path: Path) -> None:
    """What looks like markup is shown as it was written, also where scripts are forbidden."""
    hostile = "<img src=http://192.0.2.1/x>"
    path = example(tmp_path, (hostile, "b"), 3)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    assert page.locator("#databases tbody th").first.text_content() == hostile
    assert page.locator("img").count() == 0
    assert page.locator("#all .searchable tbody tr").filter(visible=True).count() == 6
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    context.close()
