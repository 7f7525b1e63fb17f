"""Documents and selectors, for which memory and CouchDB must find the same."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from migrator.testing import data
from migrator.testing.data import read_data
from tests import support

DOCUMENTS: dict[str, dict[str, Any]] = {document["_id"]: document for document in read_data("mango-documents")}
# What CouchDB 3.5.0 finds by each selector, in its order, or that it refuses it.
CASES: list[dict[str, Any]] = read_data("mango")
SELECTORS: list[dict[str, Any]] = [case["selector"] for case in CASES if not case["error"]]
REFUSED: list[dict[str, Any]] = [case["selector"] for case in CASES if case["error"]]


def main(url: str) -> None:
    """Ask a CouchDB for what it finds, and write it down again: python -m tests.support.mango_cases URL."""
    database = f"{url}/t_mango_cases"
    support.request("DELETE", database)
    support.request("PUT", database)
    support.request("POST", f"{database}/_bulk_docs", {"docs": list(DOCUMENTS.values())})
    lines = []
    for case in CASES:
        _, answer = support.request("POST", f"{database}/_find", {"selector": case["selector"], "limit": 1000})
        ids = [document["_id"] for document in answer["docs"]] if "docs" in answer else None
        lines.append(json.dumps({"selector": case["selector"], "found": ids, "error": answer.get("error")}))
    support.request("DELETE", database)
    Path(data.__file__).with_name("mango.ndjson").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
