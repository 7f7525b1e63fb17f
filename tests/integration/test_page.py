"""The page in a real browser: it asks nobody, searches, is dark where wanted, and prints whole."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import open_browser, opened_alone, picture
from tests.support.processes import LIMIT_S
from tests.unit.report.example import example

HOSTILE = "</script><img src=http://192.0.2.1/x onerror=document.title='stolen'>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all."""
    with open_browser() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """The example's page as the command makes it, open; what it asks for and complains of is kept."""
    with opened_alone(browser, page_of(tmp_path, example()), 800) as page:
        yield page


def page_of(folder: Path, report: object) -> Path:
    """The page that the command makes of a report."""
    (folder / "report.json").write_text(json.dumps(report))
    command = [sys.executable, "-m", "migrator", "report", "report.json", "--html"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=LIMIT_S)
    return folder / "report.html"


def test_the_search_finds_rows_by_every_word(page: Page) -> None:
    """Rows without the words are hidden, their number is told, Escape brings all back."""
    rows = page.locator("#rejects .searchable tbody tr")
    box = page.get_by_label("Search 13 documents")
    assert (rows.count(), rows.filter(visible=True).count()) == (13, 13)
    box.fill("ZOË json")
    assert rows.filter(visible=True).count() == 1
    expect(page.locator("#rejects-found")).to_have_text("1 found")
    box.fill("no such thing")
    assert rows.filter(visible=True).count() == 0
    box.press("Escape")
    assert rows.filter(visible=True).count() == 13


def test_charts_say_their_values(page: Page) -> None:
    """Under the pointer, and by the arrow keys for who has none."""
    chart = page.locator("#throughput")
    chart.locator("svg").focus()
    page.keyboard.press("ArrowRight")
    expect(chart.locator(".readout")).to_contain_text("at 0 s:")
    page.keyboard.press("End")
    expect(chart.locator(".readout")).to_contain_text("at 8 s:")
    page.keyboard.press("Escape")
    page.locator("#latency svg").hover()
    expect(page.locator("#latency .readout")).to_contain_text("ms")


def test_everything_is_reached_by_keyboard(page: Page) -> None:
    """The first stop skips to the content, and the search can be reached and shows where one is."""
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.localName"))
    assert {"rejects-search", "differences-search", "summary", "svg", "a"} <= reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_in_both_schemes(page: Page, scheme: str) -> None:
    """Text has a contrast of at least 4.5 to what is behind it, by day and by night."""
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    dark = page.evaluate(BACKGROUND)
    assert (dark < 0.1) is (scheme == "dark")
    poor = page.evaluate(POOR_CONTRAST)
    assert poor == []


def test_prints_whole(page: Page) -> None:
    """On paper there are no controls, the ground is white, and nothing is cut off at the side."""
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 720, "height": 1000})
    assert page.evaluate(BACKGROUND) == 1
    assert not page.locator("nav").is_visible()
    assert not page.locator("#rejects-search").is_visible()
    assert page.locator("#rejects .searchable tbody tr").filter(visible=True).count() == 12
    assert page.evaluate("document.documentElement.scrollWidth") <= 720
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_the_largest_report_prints_in_four_pages(browser: Browser, tmp_path: Path) -> None:
    """Whatever there is in it: on paper each table has its first lines, and says how many there are."""
    page = browser.new_page()
    page.goto(page_of(tmp_path, largest()).as_uri())
    page.emulate_media(media="print")
    rows = page.locator("#rejects .searchable tbody tr")
    assert (rows.count(), rows.filter(visible=True).count()) == (2000, 12)
    expect(page.locator("#rejects .searchable .paper")).to_have_text("On paper: 12 of 2,000 lines.")
    for form in ("A4", "Letter"):
        assert 1 < len(re.findall(rb"/Type\s*/Page\b(?!s)", page.pdf(format=form))) <= 4, form
    page.close()


def largest() -> dict[str, Any]:
    """The example with as much as a report has at most, and more collections than most have."""
    value, long = example(), "a reason of many words, 100 of them, and an id such as 3f2504e0 " * 8
    history, verification = value["history"], value["verification"]
    counts = value["collections"]["tickets"]
    value["collections"] = {f"collection-{n}": counts for n in range(200)}
    verification["collections"] = {f"collection-{n}": verification["collections"]["tickets"] for n in range(200)}
    named = [{"collection": "users", "id": "i" * 200, "reason": long[:500]}] * 40
    kind = {"stage": "load", "count": 40, "reason": long[:500], "sample": named}
    history["reject_reasons"] = [{**kind, "error": f"error_{n}"} for n in range(50)]
    words = [f"{n:06b}".translate({48: "a", 49: "b"}) for n in range(50)]
    history["retry_reasons"] = [
        {"operation": long[:200], "reason": f"{w} {long}"[:500], "count": 9} for w in words
    ]
    difference = {"kind": "different", "collection": "users", "id": "i" * 200, "path": long}
    verification["differences"] = [difference] * 1000
    verification["totals"]["different"] = 1000
    return value


@pytest.mark.parametrize(("name", "width", "height"), [("narrow", 360, 1200), ("wide", 1100, 900)])
def test_fits_a_screen(page: Page, tmp_path: Path, name: str, width: int, height: int) -> None:
    """Tables of numbers scroll by themselves, the page does not; on a narrow one, words stand below each other."""
    page.set_viewport_size({"width": width, "height": height})
    picture(page, f"report-{name}", tmp_path)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    too_wide = "tables => tables.filter((table) => table.offsetWidth > table.parentElement.clientWidth).length"
    assert page.locator("table.words").evaluate_all(too_wide) == 0
    cell = page.locator("#rejects .searchable tbody td").first
    assert cell.evaluate("cell => getComputedStyle(cell).display") == (
        "block" if name == "narrow" else "table-cell"
    )
    page.get_by_label("Search 13 documents").fill("json")
    assert page.locator("#rejects .searchable tbody tr").filter(visible=True).count() == 1


def test_proof_and_verification_stand_in_one_place(page: Page) -> None:
    """One section says what was proven by revisions and what a comparison found."""
    proof = page.locator("#proof")
    expect(proof).to_contain_text("0 of 3,800 documents at the target are proven by the revision.")
    expect(proof).to_contain_text("Source and target differ.")
    assert page.get_by_role("link", name="Proof and verification").count() == 1


def test_a_hostile_name_is_a_name(browser: Browser, tmp_path: Path) -> None:
    """What looks like markup is shown as it was written; nothing of it is run or asked for."""
    path = page_of(tmp_path, example(HOSTILE, HOSTILE, HOSTILE))
    asked: list[str] = []
    page = browser.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    assert page.title() == "13 of 4,000 documents were rejected · migrator"
    assert page.locator("#moved tbody th").first.text_content() == HOSTILE
    assert page.locator("img").count() == 0
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    page.close()


def test_a_page_of_many_rejects_stays_small(browser: Browser, tmp_path: Path) -> None:
    """Of 30,000 rejects with hostile ids each reason has its number and a sample, and the page opens at once."""
    lines = [json.dumps({"_id": f"_{HOSTILE}{n}"}) if n % 3 else "no document" for n in range(30_000)]
    (tmp_path / "orders.ndjson").write_text("\n".join(lines))
    command = [sys.executable, "-m", "migrator", "run", "--from", "orders.ndjson", "--to", "out", "-q"]
    command += ["--transform", "refusing:refused", "--report", "report.json"]
    program = "def refused(document):\n    raise ValueError(document['_id'])\n"
    (tmp_path / "refusing.py").write_text(program)
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, timeout=LIMIT_S)
    assert done.returncode == 3, done.stderr
    path = page_of(tmp_path, json.loads((tmp_path / "report.json").read_text()))
    assert path.stat().st_size < 1_500_000
    page = browser.new_page()
    page.goto(path.as_uri())
    assert page.title() == "30,000 of 30,000 documents were rejected · migrator"
    text = page.locator("#rejects").inner_text()
    assert "20,000" in text
    assert "10,000" in text
    # All of them until there are so many, and the page says how many it has.
    assert page.locator("#rejects .searchable tbody tr").count() == 1000
    assert "Search 1,000 documents of 30,000" in text
    assert "Here are the first 1,000 documents, some of each reason" in text
    page.get_by_label("Search 1,000").fill(f"{HOSTILE}997")
    expect(page.locator("#rejects-found")).to_have_text("1 found")
    assert page.locator("img").count() == 0
    page.close()


def test_without_scripts_all_is_there(browser: Browser, tmp_path: Path) -> None:
    """Where scripts are forbidden the numbers and rows stand there all the same, without a dead search box."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_of(tmp_path, example()).as_uri())
    assert page.locator("#rejects .searchable tbody tr").filter(visible=True).count() == 13
    assert not page.locator("#rejects-search").is_visible()
    assert page.locator("#throughput polyline").is_visible()
    context.close()


LUMINANCE = """
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
"""
BACKGROUND = (
    f"(() => {{ {LUMINANCE} return luminance(numbers(getComputedStyle(document.body).backgroundColor)); }})()"
)
POOR_CONTRAST = f"""(() => {{ {LUMINANCE}
  const ground = (element) => {{
    for (let e = element; e; e = e.parentElement) {{
      const color = numbers(getComputedStyle(e).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }}
    return [255, 255, 255];
  }};
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {{
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const unseen = ["script", "title", "desc"].includes(element.localName) || !element.getClientRects().length;
    if (!text || unseen) continue;
    const style = getComputedStyle(element);
    const color = numbers(element.localName === "text" ? style.fill : style.color);
    const behind = ground(element);
    const opacity = Number(style.opacity);
    const mixed = color.slice(0, 3).map((c, n) => c * opacity + behind[n] * (1 - opacity));
    const [high, low] = [luminance(mixed), luminance(behind)].sort((a, b) => b - a);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 4.5) poor.push(`${{element.localName}}.${{element.className}} ${{contrast.toFixed(2)}}`);
  }}
  return [...new Set(poor)];
}})()"""
