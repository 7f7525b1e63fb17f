"""The plan of a job for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from migrator.report.summary import table, unconfirmed_lines


def plan_to_text(plan: Mapping[str, Any]) -> str:
    """A plan for people."""
    rows = [("collection", "goes to", "target", "documents", "there now")]
    for name, item in plan["collections"].items():
        state = {True: "exists", False: "is created", None: "?"}[item["exists"]]
        rows.append((name, item["target"], state, _number(item["documents"]), _number(item["documents_there"])))
    lines = [
        f"source       {plan['source']}",
        f"target       {plan['target']}",
        f"transform    {', then '.join(plan['transform']) or 'nothing; documents go as they are'}",
        f"codec        {plan['codec']}",
        f"on conflict  {plan['on_conflict']}",
        f"batches      {plan['batch_docs']} documents, {plan['batch_bytes']} bytes, {plan['in_flight']} in flight",
        f"checkpoint   {plan['checkpoint']}" + (" (exists)" if plan["checkpoint_exists"] else ""),
        f"rejects      {plan['rejects']}",
        "",
        table(rows, left=3),
        *unconfirmed_lines(plan.get("unconfirmed", ())),
        "",
        "Nothing was written. Do it with: migrator run (the same arguments)",
    ]
    return "\n".join(lines)


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"
