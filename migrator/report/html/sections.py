"""The sections of the page, from the JSON of a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element

from migrator.report.html import charts, wording
from migrator.report.html.charts import Line
from migrator.report.html.elements import h
from migrator.report.html.tables import FATES, searchable, table, told

MAX_DIFFERENCES = 500


def moved(report: Mapping[str, Any]) -> Element:
    """What became of the documents: a bar of the whole and a table by collection."""
    totals = report["totals"]
    courses = report.get("history", {}).get("collections", {})
    # A column in which nothing is tells nothing.
    shown = ["read", *(word for word in (*FATES, "conflicts") if totals[word])]
    mixed = sum(totals[word] > 0 for word in FATES) > 1
    head = ["collection", "database", *([""] if mixed else []), *shown]
    rows = []
    for name, counts in report["collections"].items():
        course = courses.get(name, {})
        rows.append([name, counts["database"], *([counts] if mixed else []), *(counts[word] for word in shown)])
        if courses:
            rows[-1] += [wording.size(course.get("bytes", 0)), wording.duration(course.get("seconds", 0))]
    if courses:
        head += ["size", "time"]
    foot = ["total", "", *([totals] if mixed else []), *(totals[word] for word in shown)]
    if courses:
        foot += [wording.size(sum(c["bytes"] for c in courses.values())), wording.duration(report["seconds"])]
    parts = [(word, totals[word]) for word in FATES]
    return _section(
        "moved",
        "What moved",
        h(
            "div",
            charts.shares(parts, css="whole", label=told(totals)),
            h(
                "ul",
                [
                    h("li", h("span", class_=f"key fate-{word}"), h("b", f"{count:,}"), f" {word}")
                    for word, count in parts
                    if count
                ],
                class_="legends",
            ),
            class_="fates",
        )
        if totals["read"]
        else h("p", "There was nothing to move.", class_="calm"),
        table("Documents by collection", head, rows, left=2, foot=foot if len(rows) > 1 else None),
        h(
            "p",
            "Every document that was read has ended in exactly one way: read = written + unchanged + skipped + "
            "filtered + rejected. Conflicts are counted beside that: other content stood at the target.",
            class_="note",
        ),
    )


def course(report: Mapping[str, Any]) -> Element | None:
    """How the run went over time."""
    history = report.get("history")
    if not history or not history["series"]["documents"]:
        return None
    series, interval = history["series"], history["interval_s"]
    rates = [count / interval for count in series["documents"]]
    # The last slice ended with the run, so it is shorter than the others.
    last = report["seconds"] - interval * (len(rates) - 1) if "seconds" in report else interval
    if rates and 0.05 * interval < last < interval:
        rates[-1] = series["documents"][-1] / last
    scale = interval if len(rates) == 1 else (len(rates) * interval)
    bytes_rates = [count / interval for count in series["bytes"]]
    latency = series["latency_ms"]
    busy = any(series["retries"]) or any(series["rejected"])
    figures = [
        charts.timeline(
            "throughput",
            "Documents a second",
            [Line("", rates, "a", area=True)],
            interval,
            wording.number,
            note=f"On average {wording.number(report.get('documents_per_second', 0))} documents a second.",
        ),
        charts.timeline(
            "latency",
            "Time of a batch",
            [
                Line("slowest", latency["max"], "d"),
                Line("95 %", latency["p95"], "b"),
                Line("half", latency["p50"], "a"),
            ],
            interval,
            wording.milliseconds,
            note="How long a batch took, retries included: half of the batches, 95 % of them, and the slowest.",
        ),
        charts.timeline(
            "bytes",
            "Bytes a second",
            [Line("", bytes_rates, "a", area=True)],
            interval,
            lambda value: wording.size(value or 0),
            note="Encoded documents sent.",
        ),
        charts.timeline(
            "batch",
            "Largest batch",
            [Line("documents", [v or None for v in series["largest_batch"]], "a")],
            interval,
            wording.number,
            note="Documents in the largest batch of each slice of time.",
        ),
    ]
    if busy:
        figures.append(
            charts.timeline(
                "trouble",
                "Retries and rejects",
                [Line("retries", series["retries"], "b"), Line("rejects", series["rejected"], "fate-rejected")],
                interval,
                wording.number,
                bars=True,
                note="How many there were in each slice of time.",
            )
        )
    sizes = history["batch_sizes"]
    if sizes:
        figures.append(
            charts.histogram(
                "sizes",
                "Batches by size",
                [(f"≤ {size['up_to']:,}", size["batches"]) for size in sizes],
                "How many batches had at most so many documents.",
            )
        )
    return _section(
        "time", "Over time",
        h("div", figures, class_="charts"),
        h(
            "details",
            h("summary", "The numbers"),
            _numbers(series, interval),
        ),
        h("p", f"One point stands for {wording.duration(interval)} of {wording.duration(scale)}. "
          "A time of a batch is right to within 5 %.", class_="note"),
    )  # fmt: skip


def retries(report: Mapping[str, Any]) -> Element | None:
    """What had to be done again, and how the limits gave way."""
    history = report.get("history")
    if not history:
        return None
    children: list[Element | None] = []
    if history["retry_reasons"]:
        rows = [[reason["operation"], reason["reason"], reason["count"]] for reason in history["retry_reasons"]]
        children.append(table("Retries by reason", ["operation", "reason", "times"], rows, left=2))
    if history["limits"]:
        rows = [
            [wording.duration(limit["at_s"]), limit["reason"], limit["max_docs"], limit["in_flight"]]
            for limit in history["limits"]
        ]
        shown = len(history["limits"])
        title = f"{history['limit_changes']:,} changes of the limits" + (
            f", of which {shown}" if history["limit_changes"] > shown else ""
        )
        head = ["at", "reason", "documents in a batch", "batches at once"]
        children.append(h("details", h("summary", title), table(title, head, rows, left=2)))
    if not children:
        children.append(h("p", "Nothing had to be tried again.", class_="calm"))
    return _section("retries", "Retries", *children)


def rejects(report: Mapping[str, Any]) -> Element | None:
    """What was rejected, by reason, with a search over the sample."""
    reasons = report.get("history", {}).get("reject_reasons", [])
    count = report["totals"]["rejected"]
    if not count and not reasons:
        return _section("rejects", "Rejects", h("p", "No document was rejected.", class_="calm"))
    rows = [
        [reason["error"], item["collection"], item["id"], item["reason"]]
        for reason in reasons
        for item in reason["sample"]
    ]
    file = report.get("rejects", "")
    # A report of a version before names no commands.
    commands = report.get("retry") or [f"migrator retry {file} --to TARGET"]
    after = [part for command in commands for part in (" ", h("code", command))]
    where = h("p", "All are in ", h("code", file), ". After a fix:", *after) if file else None
    return _section(
        "rejects",
        "Rejects",
        where,
        table(
            "Rejected documents by reason",
            ["reason", "stage", "for example", "documents"],
            [[reason["error"], reason["stage"], reason["reason"], reason["count"]] for reason in reasons],
            left=3,
        ),
        searchable(
            "rejects",
            f"Search {wording.documents(len(rows))}" + (f" of {count:,}" if count > len(rows) else ""),
            table("Rejected documents", ["reason", "collection", "id", "why"], rows, left=4),
        )
        if rows
        else None,
    )


def verification(value: Mapping[str, Any] | None) -> Element | None:
    """What comparing both sides found."""
    if value is None:
        return None
    names = list(value["totals"])
    rows = [[name, *(counts[key] for key in names)] for name, counts in value["collections"].items()]
    total = ["total", *(value["totals"][key] for key in names)]
    differences = value["differences"]
    count = sum(value["totals"][key] for key in ("different", "missing", "extra"))
    shown = differences[:MAX_DIFFERENCES]
    compared = wording.documents(value["totals"]["source"])
    verdict = "Both sides hold the same." if value["ok"] else "Source and target differ."
    unfit = value.get("unwritable", 0)
    return _section(
        "verification",
        "Verification",
        h("p", h("b", verdict), f" {compared} compared in {wording.duration(value['seconds'])}."),
        h("p", f"{unfit:,} documents of the source can never be written there, so they are not compared.")
        if unfit
        else None,
        table(
            "Compared documents by collection", ["collection", *names], rows, foot=total if len(rows) > 1 else None
        ),
        searchable(
            "differences",
            f"Search {len(shown):,} differences" + (f" of {count:,}" if count > len(shown) else ""),
            table(
                "Differences",
                ["kind", "collection", "id", "first place"],
                [[d["kind"], d["collection"], d["id"][:200], d["path"]] for d in shown],
                left=4,
            ),
        )
        if shown
        else None,
    )


def _section(name: str, title: str, *children: Element | None) -> Element:
    return h("section", h("h2", title, id=f"{name}-head"), children, id=name, aria_labelledby=f"{name}-head")


def _numbers(series: Mapping[str, Any], interval: float) -> Element:
    head = [
        "from",
        "documents",
        "bytes",
        "batches",
        "largest batch",
        "half",
        "95 %",
        "slowest",
        "retries",
        "rejects",
    ]
    latency = series["latency_ms"]
    rows = [
        [
            wording.duration(place * interval) if place else "0 s",
            count,
            wording.size(series["bytes"][place]),
            series["batches"][place],
            series["largest_batch"][place],
            *(wording.milliseconds(latency[name][place]) for name in ("p50", "p95", "max")),
            series["retries"][place],
            series["rejected"][place],
        ]
        for place, count in enumerate(series["documents"])
        if count or series["batches"][place] or series["retries"][place]
    ]
    return table("The run in slices of time", head, rows)
