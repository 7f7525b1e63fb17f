"""The site: it is built strictly and without any other host, and a browser that reads it asks none either."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from migrator.cli import COMMANDS
from tests.browser import open_browser, picture
from tests.docs.pages import ROOT
from tests.support.processes import LIMIT_S

# Nobody listens there: whoever asks another host on the way fails.
NOWHERE = "http://127.0.0.1:9"
LOADS = re.compile(r"""<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=["']?(?:https?:)?//([^"'/ >]+)""")
STYLE_LOADS = re.compile(r"""(?:url\(|@import\s*)["']?(?:https?:)?//([^"'/)]+)""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as a reader would build it; any warning ends the build."""
    folder = tmp_path_factory.mktemp("site")
    environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "HTTP_PROXY": NOWHERE, "HTTPS_PROXY": NOWHERE}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_command_has_a_page_of_its_own(site: Path) -> None:
    """Usage, examples and each flag stand there, made from the command itself."""
    for name in COMMANDS:
        text = (site / "reference" / "command" / f"{name}.html").read_text(encoding="utf-8")
        assert f"migrator {name}" in text
    text = (site / "reference" / "command" / "run.html").read_text(encoding="utf-8")
    assert "--max-outage SECONDS" in text
    assert "[default: 300]" in text
    text = (site / "reference" / "command" / "backups.html").read_text(encoding="utf-8")
    assert 'id="migrator-backups-prune"' in text


def test_the_python_reference_is_made_of_docstrings(site: Path) -> None:
    """Functions, classes and errors stand there by their full names."""
    text = (site / "reference" / "python.html").read_text(encoding="utf-8")
    for name in (
        "functions.run",
        "functions.verify",
        "config.JobConfig",
        "model.Extractor",
        "errors.TransientError",
        "database.Settings",
    ):
        assert f'id="migrator.{name}"' in text
    for name in (
        "model.Record.text",
        "transformers.fields.drop",
        "testing.ExtractorContract",
        "integrations.dlt.couchdb",
    ):
        assert f'id="migrator.{name}"' in text
    assert "read = written + unchanged + skipped + filtered + rejected" in text


def test_keys_of_a_job_and_errors_are_made_from_the_code(site: Path) -> None:
    """The tables that a page leaves to the code are filled in."""
    configuration = (site / "reference" / "configuration.html").read_text(encoding="utf-8")
    assert re.search(r"<code>max_outage_s</code></td>\n(<td>.*</td>\n)?<td><code>300</code>", configuration)
    assert "LockedError (7)" in (site / "reference" / "exit-codes.html").read_text(encoding="utf-8")
    assert not [page for page in site.rglob("*.html") if "<!-- made:" in page.read_text(encoding="utf-8")]


def test_links_into_the_repository_stay_in_the_site(site: Path) -> None:
    """A file that a page links to is shown by a page of its own, and the pages of the top are there."""
    assert (site / "source" / "configs" / "cron" / "migrator-sync.html").is_file()
    assert "Why not" in (site / "architecture.html").read_text(encoding="utf-8")
    for page in site.rglob("*.html"):
        links = re.findall(r'href="([^"#:]+)(?:#[^"]*)?"', page.read_text(encoding="utf-8"))
        dead = {link for link in links if page.name != "404.html" and not (page.parent / link).exists()}
        assert dead == set(), page


def test_no_page_loads_from_another_host(site: Path) -> None:
    """No script, style, image or font of a page comes from elsewhere."""
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    assert {host for page in pages for host in LOADS.findall(page.read_text(encoding="utf-8"))} == set()
    styles = list(site.rglob("*.css"))
    assert styles
    assert {host for style in styles for host in STYLE_LOADS.findall(style.read_text(encoding="utf-8"))} == set()


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the built folder is served, as `python -m http.server` does."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all."""
    with open_browser() as browser:
        yield browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("opened", ["served", "as files"])
def test_a_browser_asks_no_other_host(
    browser: Browser, site: Path, address: str, opened: str, scheme: str
) -> None:
    """By day and by night pages are read and searched, and nothing is asked of anybody else or complained of."""
    start = address if opened == "served" else site.as_uri()
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    asked: list[str] = []
    failed: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.goto(f"{start}/reference/command/run.html")
    page.goto(f"{start}/index.html")
    search(page, "max-outage")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", ground)[0]) < 60) is (scheme == "dark"), ground
    elsewhere = [url for url in asked if not url.startswith((start, "data:", "blob:", "about:"))]
    assert elsewhere == []
    assert failed == []
    page.close()


def search(page: Page, words: str) -> None:
    """Type words into the search, and wait for what it finds."""
    # The index is loaded when somebody is about to search, and what was typed before is looked for again.
    page.locator(".md-search__input").focus()
    page.locator(".md-search__input").fill("")
    page.locator(".md-search__input").press_sequentially(words, delay=20)
    page.locator(".md-search-result__item").first.wait_for()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("rejected", "rejected.html"),
        ("continue interruption", "resume.html"),
        ("github actions", "github-actions.html"),
        ("s3 every night", "nightly-s3.html"),
    ],
)
def test_pages_are_found_from_the_first_page_and_by_the_search(
    browser: Browser, site: Path, words: str, found: str
) -> None:
    """Of a site that is opened as files: a link on the first page, and one of the first results of the search."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{site.as_uri()}/index.html")
    assert page.locator(f"article a[href='{found}']").count() == 1
    search(page, words)
    links = page.locator(".md-search-result__link").evaluate_all("links => links.map((link) => link.href)")
    assert any(found in link for link in links[:5]), links[:10]
    page.close()


@pytest.mark.parametrize(("name", "width"), [("narrow", 360), ("wide", 1280)])
def test_pages_fit_a_screen(browser: Browser, site: Path, tmp_path: Path, name: str, width: int) -> None:
    """At two widths no page is wider than the screen: its tables and blocks scroll by themselves."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    for path in [*sorted(site.glob("*.html")), site / "reference" / "command" / "run.html"]:
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
    page.goto(f"{site.as_uri()}/index.html")
    picture(page, f"site-{name}", tmp_path)
    page.close()
