"""A report as one HTML page that needs nothing else: no other host, no other file, no script but its own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from migrator.errors import ConfigError
from migrator.report.html import sections, wording
from migrator.report.html.elements import h, markup

SCHEMA = 1


def render_page(report: Mapping[str, Any], *, name: str = "the report") -> str:
    """The page of a report of `run` or `retry`, or of a result of `verify`.

    Args:
        report: the JSON that `--report` wrote.
        name: what it is called in errors.

    Raises:
        ConfigError: it is no report.
    """
    hint = "Name a file that --report of migrator run, retry or verify wrote."
    if not isinstance(report, Mapping) or report.get("schema") != SCHEMA:
        raise ConfigError(f"{name} is no report that this version knows.", hint=hint)
    try:
        return _page(report)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        raise ConfigError(f"{name} is no whole report.", hint=hint) from None


def _page(report: Mapping[str, Any]) -> str:
    verified = report if "differences" in report else report.get("verification")
    ran = "differences" not in report
    history = report.get("history", {})
    style, script = _text("page.css"), _text("page.js")
    parts = [
        sections.moved(report) if ran else None,
        sections.course(report) if ran else None,
        sections.rejects(report) if ran else None,
        sections.verification(verified),
        sections.retries(report) if ran else None,
    ]
    title = _headline(report) if ran else ("Verified" if report["ok"] else "Source and target differ")
    body = h(
        "body",
        h("a", "To the content", href="#content", class_="skip"),
        h(
            "header",
            h("p", "migrator", class_="brand"),
            h("h1", title),
            h("p", _marks(report, verified), class_="marks"),
            _facts(report, history) if ran else None,
            h(
                "nav",
                [
                    h("a", section.findtext("h2"), href=f"#{section.get('id')}")
                    for section in parts
                    if section is not None
                ],
                aria_label="Sections",
            ),
        ),
        h("main", parts, id="content"),
        h("script"),
    )
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    head = h(
        "head",
        h("meta", charset="utf-8"),
        h("meta", http_equiv="Content-Security-Policy", content=policy),
        h("meta", name="viewport", content="width=device-width, initial-scale=1"),
        h("meta", name="color-scheme", content="light dark"),
        h("meta", name="referrer", content="no-referrer"),
        h("title", f"{title} · migrator"),
        h("link", rel="icon", href="data:,"),
        h("style"),
    )
    # Of these two nothing comes from the report, and their text must stay as it was hashed.
    page = markup(h("html", head, body, lang="en"))
    page = page.replace("<style></style>", f"<style>{style}</style>")
    return "<!DOCTYPE html>\n" + page.replace("<script></script>", f"<script>{script}</script>") + "\n"


def _headline(report: Mapping[str, Any]) -> str:
    totals = report["totals"]
    read = wording.documents(totals["read"])
    if totals["rejected"]:
        return f"{totals['rejected']:,} of {read} {'was' if totals['rejected'] == 1 else 'were'} rejected"
    if report.get("dry_run"):
        return f"{read} would be moved"
    if not report["ok"]:
        return f"{read}, and the job is not whole"
    if totals["read"] and not totals["written"]:
        return f"{read}, and nothing had to be written"
    return f"{read}, every one accounted for"


def _marks(report: Mapping[str, Any], verified: Mapping[str, Any] | None) -> list[Any]:
    marks = [h("span", "✓ ok", class_="mark good") if report["ok"] else h("span", "! not ok", class_="mark bad")]
    if report.get("dry_run"):
        marks.append(h("span", "dry run: nothing was written", class_="mark"))
    if verified is not None and verified is not report:
        good = verified["ok"]
        words = "✓ verified: both sides hold the same" if good else "! verification found differences"
        marks.append(h("span", words, class_=f"mark {'good' if good else 'bad'}"))
    before = report.get("settled_before")
    if before:
        words = f"{wording.documents(before['read'])} settled by an interrupted run before"
        marks.append(h("span", words, class_="mark"))
    return marks


def _facts(report: Mapping[str, Any], history: Mapping[str, Any]) -> Any:
    facts: list[tuple[str, str]] = []
    if history:
        facts += [("from", history["source"]), ("to", history["target"])]
        facts.append(("begun", history["started_at"].replace("T", " ").replace("Z", " UTC")))
    facts.append(("took", wording.duration(report["seconds"])))
    facts.append(("rate", f"{wording.number(report['documents_per_second'])} documents a second"))
    return h("dl", [h("div", h("dt", name), h("dd", value)) for name, value in facts])


def _text(name: str) -> str:
    return resources.files("migrator.report.html").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
