"""A headless Chromium for tests: the machine's own, or one that npm brings without any right or system package."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from migrator.sandbox.install import find_node

FOLDER = Path(__file__).parent
PICTURES = FOLDER.parents[1] / "docs" / "images"
FILES = ("package.json", "package-lock.json", "unpack.mjs")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL_TIMEOUT_S = 600


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """A browser of its own. Where there is none and none can be had, the test fails and says what to install."""
    program = find_browser()
    environ = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    libraries = program.parent / "al2023" / "lib"
    if libraries.is_dir():
        environ |= {"LD_LIBRARY_PATH": str(libraries), "FONTCONFIG_PATH": str(program.parent / "fonts")}
    with sync_playwright() as playwright:
        # Root may not use Chromium's sandbox; the pages are our own.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"], env=environ)  # type: ignore[arg-type]
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def opened_alone(browser: Browser, path: Path, height: int) -> Iterator[Page]:
    """A page of a file, open; at the end it must have asked for nothing else, and complained of nothing."""
    page = browser.new_page(viewport={"width": 1100, "height": height})
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(path.as_uri())
    yield page
    page.close()
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert said == []


def picture(page: Page, name: str, folder: Path) -> None:
    """A screenshot of what the page shows, in a folder or, with `UPDATE_DOCS=1`, among the pictures of the docs.

    Not compared dot by dot: fonts differ from machine to machine. Neither may it be empty, nor of another width.
    """
    path = (PICTURES if os.environ.get("UPDATE_DOCS") else folder) / f"{name}.png"
    page.screenshot(path=path)
    size = page.viewport_size
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    assert size
    assert struct.unpack(">II", head[16:24]) == (size["width"], size["height"])
    assert path.stat().st_size > 10_000, f"{path} shows hardly anything"


def find_browser() -> Path:
    """The program: that of MIGRATOR_BROWSER, of the machine, or else the one that npm brings."""
    if named := os.environ.get("MIGRATOR_BROWSER"):
        return Path(named)
    for name in NAMES:
        if found := shutil.which(name):
            return Path(found)
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.fail("There is no Chromium: install it (brew install chromium), or name it in MIGRATOR_BROWSER.")
    return _installed()


def _installed() -> Path:
    digest = hashlib.sha256(b"".join((FOLDER / name).read_bytes() for name in FILES)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "migrator"
    program = cache / f"browser-{digest}" / "chromium"
    if program.is_file():
        return program
    cache.mkdir(parents=True, exist_ok=True)
    node = find_node()
    work = Path(tempfile.mkdtemp(prefix="installing-", dir=cache))
    for name in FILES:
        shutil.copy(FOLDER / name, work)
    npm = [str(node.program), str(node.npm_cli), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    for command in (npm, [str(node.program), "unpack.mjs", str(work)]):
        done = subprocess.run(
            command, cwd=work, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
        )
        if done.returncode:
            pytest.fail(
                "There is no Chromium, and npm cannot bring one: install it (on Debian: apt install chromium), or "
                f"name it in MIGRATOR_BROWSER. {done.stderr[-500:]}"
            )
    shutil.rmtree(work / "node_modules")
    with contextlib.suppress(OSError):
        # Another process may have been first.
        work.rename(program.parent)
    shutil.rmtree(work, ignore_errors=True)
    return program
