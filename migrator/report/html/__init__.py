"""A report as one HTML page that asks no other host and has no script but its own; or as a few lines of text."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, TemplateError, select_autoescape

from migrator.errors import ConfigError
from migrator.naming import printable
from migrator.report.html import charts, wording

SCHEMA = 1


def render_page(report: Mapping[str, Any], *, name: str = "the report", short: bool = False) -> str:
    """The page of a report of `run` or `retry`, or of a result of `verify`.

    Args:
        report: the JSON that `--report` wrote.
        name: what it is called in errors.
        short: a few lines of plain text in place of the page, for mail and chat.

    Raises:
        ConfigError: it is not a report.
    """
    hint = "Name a file that --report of migrator run, retry or verify wrote."
    if not isinstance(report, Mapping) or report.get("schema") != SCHEMA:
        raise ConfigError(f"{name} is not a report that this version knows.", hint=hint)
    try:
        return _page(report, "short.txt" if short else "page.html")
    except (TemplateError, AttributeError, KeyError, TypeError, ValueError, IndexError):
        raise ConfigError(f"{name} is not a whole report.", hint=hint) from None


def _page(report: Mapping[str, Any], template: str) -> str:
    ran = "differences" not in report
    return render(
        template,
        wording.TABLES,
        charts=charts.over_time,
        report=report,
        ran=ran,
        verified=report.get("verification") if ran else report,
        title=_headline(report) if ran else ("Verified" if report["ok"] else "Source and target differ"),
    )


def render(template: str, tables: Iterable[Callable[..., object]] = (), **values: object) -> str:
    """A template with our style and script, and all that pages are made of.

    Args:
        template: its file.
        tables: functions that it calls, by their own names.
        values: what else it knows.
    """
    page = template.endswith(".html")
    pages = Environment(
        loader=PackageLoader("migrator.report", "html"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        finalize=_cleaned if page else lambda value: printable(value) if isinstance(value, str) else value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not page,
    )
    pages.filters |= {word.__name__: word for word in wording.FILTERS}
    pages.filters |= {"sha256": _sha256, "items_of": lambda item, *keys: [item[key] for key in keys]}
    pages.globals |= {table.__name__: table for table in tables}
    pages.globals |= {"shares": charts.shares, "fates": wording.FATES}
    return pages.get_template(template).render(**values, style=_own_text("page.css"), script=_own_text("page.js"))


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


def _own_text(name: str) -> str:
    """A file of ours, which stands in the page as it is: the policy names its hash."""
    return resources.files("migrator.report.html").joinpath(name).read_text(encoding="utf-8")


def _sha256(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _cleaned(value: object) -> object:
    """A text without what no page can hold or what would turn its direction: such characters are spelled out."""
    if hasattr(value, "__html__") or not isinstance(value, str) or value.isprintable():
        return value
    return "".join(_spelled(character) for character in value)


def _spelled(character: str) -> str:
    # Joiners make one letter or emoji of several; what else is unseen could turn the direction of writing.
    if character.isprintable() or character in "\n\t\u200c\u200d":
        return character
    if character.isspace() and character > "\x7f":
        return " "
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")
