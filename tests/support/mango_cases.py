"""Documents and selectors, for which memory and CouchDB must find the same."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests import support

_VALUES: dict[str, Any] = {
    "null": None,
    "false": False,
    "true": True,
    "zero": 0,
    "one": 1,
    "one-float": 1.0,
    "minus": -7,
    "ten": 10,
    "big": 2**70,
    "half": 0.5,
    "text-empty": "",
    "text-a": "a",
    "text-upper": "A",
    "text-b": "b",
    "text-ab": "ab",
    "text-accent": "é",
    "text-accent-apart": "e\u0301",
    "text-nul": "a\u0000",
    "text-space": "a b",
    "text-digits": "10",
    "text-umlaut": "zebrä",
    "text-underscore": "_x",
    "array-empty": [],
    "array-a": ["a"],
    "array-ab": ["a", "b"],
    "array-ba": ["b", "a"],
    "array-numbers": [1, 2, 3],
    "array-nested": [["a", "b"], 5],
    "array-objects": [{"n": 1, "s": "x"}, {"n": 5, "s": "y"}],
    "array-objects-short": [{"n": 2}, {"m": 9}, 7],
    "object-empty": {},
    "object-n": {"n": 1},
    "object-deep": {"n": {"m": [10, {"k": "v"}]}},
    "object-ab": {"a": 1, "b": 2},
    "object-ba": {"b": 2, "a": 1},
    "object-dotted": {"x.y": 1},
}

DOCUMENTS: dict[str, dict[str, Any]] = {
    **{id: {"v": value} for id, value in _VALUES.items()},
    "absent": {"w": 1},
    "both": {"v": 5, "w": "x"},
    "Upper": {"v": 6},
}

_SCALARS: list[Any] = [None, False, True, 0, 1, 1.0, 2.5, "", "a", "B", "é", "z", [], ["a"], ["a", "b"], [1]]
_OBJECTS: list[Any] = [{}, {"n": 1}, {"a": 1, "b": 2}, {"b": 2, "a": 1}]

_BOUNDS: list[Any] = [None, True, 1, "a", ["a"], {}]

SELECTORS: list[dict[str, Any]] = [
    {},
    *({"v": scalar} for scalar in _SCALARS),
    *({"v": {operator: each}} for operator in ("$eq", "$ne", "$gt", "$lte") for each in [*_SCALARS, *_OBJECTS]),
    *({"v": {operator: each}} for operator in ("$gte", "$lt") for each in _BOUNDS),
    *({"v": {"$in": value}} for value in ([], [1], ["a", None], [["a", "b"]], [{"n": 1}], [1.0, "é"])),
    *({"v": {"$nin": value}} for value in ([], [1], ["a", None], [["a", "b"]])),
    {"v": {"$exists": True}},
    {"v": {"$exists": False}},
    {"v.n": {"$exists": False}},
    {"v.n.m": {"$exists": False}},
    {"$not": {"v": {"$exists": True}}},
    *({"v": {"$type": name}} for name in ("null", "boolean", "number", "string", "array", "object", "integer")),
    *({"v": {"$size": count}} for count in (0, 1, 2, 3)),
    *({"v": {"$mod": pair}} for pair in ([2, 0], [2, 1], [5, -2], [-5, -2], [3, 1])),
    *(
        {"v": {"$regex": pattern}}
        for pattern in ("^a", "a$", "(?i)A", ".", "^.$", "[0-9]+", "^$", "\\w+\\s", "ä$")
    ),
    *({"v": {"$beginsWith": begin}} for begin in ("a", "", "é", "1")),
    *({"v": {"$all": value}} for value in ([], ["a"], ["b", "a"], [["a", "b"]], [1], [1.0], [["b", "a"]])),
    {"v": {"$elemMatch": {"$eq": "a"}}},
    {"v": {"$elemMatch": {"$gt": 1, "$lt": 3}}},
    {"v": {"$elemMatch": {"n": {"$gt": 1}}}},
    {"v": {"$elemMatch": {"n": 1, "s": "x"}}},
    {"v": {"$elemMatch": {"n": 1, "s": "y"}}},
    {"v": {"$elemMatch": {"n": {"$exists": False}}}},
    {"v": {"$elemMatch": {"$not": {"n": 1}}}},
    {"v": {"$elemMatch": {"$or": [{"n": 2}, {"s": "y"}]}}},
    {"v": {"$elemMatch": {"$nor": [{"n": 2}]}}},
    {"v": {"$elemMatch": {"$elemMatch": {"$eq": "a"}}}},
    {"v": {"$not": {"$elemMatch": {"$eq": "a"}}}},
    {"v": {"$allMatch": {"$type": "number"}}},
    {"v": {"$allMatch": {"n": {"$lt": 9}}}},
    {"v": {"$allMatch": {"$not": {"$eq": 9}}}},
    {"v": {"$keyMapMatch": {"$eq": "a"}}},
    {"v": {"$keyMapMatch": {"$regex": "^n$"}}},
    {"v.n": 1},
    {"v": {"n": 1}},
    {"v": {"n": {"m": {"$size": 2}}}},
    {"v.n.m.0": 10},
    {"v.n.m.1.k": "v"},
    {"v.0": "a"},
    {"v.1": {"$exists": True}},
    {"v.-1": "a"},
    {"v.x\\.y": 1},
    {"v.x.y": 1},
    {"v": 5, "w": "x"},
    {"v": {"$gt": 0, "$lt": 10}},
    {"v": {"$gt": "a", "$lt": "b"}},
    {"v": {"$gte": "A", "$lte": "ab"}},
    {"$and": []},
    {"$or": []},
    {"$nor": []},
    {"$and": [{"v": {"$gt": 0}}, {"v": {"$lt": 7}}]},
    {"$or": [{"v": 1}, {"w": 1}]},
    {"$nor": [{"v": 1}, {"v": "a"}]},
    {"$nor": [{"v": {"$gt": 0}}, {"w": {"$exists": True}}]},
    {"$not": {"v": 1}},
    {"$not": {"v": {"$gt": 0}}},
    {"$not": {"v": {"$regex": "a"}}},
    {"$not": {"$or": [{"v": 1}, {"v": "a"}]}},
    {"$not": {"$and": [{"v": {"$gt": 0}}, {"v": {"$lt": 7}}]}},
    {"$not": {"$not": {"v": 1}}},
    {"$not": {"$nor": [{"v": 1}]}},
    {"$not": {"v": {"$in": [1, "a"]}}},
    {"$not": {"v": {"$type": "number"}}},
    {"$not": {"v": {"$gt": 0, "$lt": 7}}},
    {"v": {"$not": {"$gt": 0}}},
    {"v": {"$not": {"$size": 2}}},
    {"v": {"$or": [{"$lt": 0}, {"$gt": 9}]}},
    {"v": {"$and": [{"$gt": 0}, {"$not": {"$eq": 1}}]}},
    {"$or": [{"v": {"$in": ["b"]}}, {"$and": [{"w": "x"}, {"v": 5}]}]},
    {"_id": "both"},
    {"_id": {"$gt": "text-b"}},
    {"_id": {"$lt": "b"}},
    {"_id": {"$gte": "a", "$lt": "b"}},
    {"_id": {"$in": ["one", "Upper", "none"]}},
    {"_id": {"$regex": "^text"}},
    {"_id": {"$gt": None}},
    {"_id": {"$gt": {}}},
    {"_id": {"$lt": {}}},
    {"_id": {"$ne": "one"}},
    {"_id": {"$beginsWith": "array"}, "v": {"$size": 2}},
]

REFUSED: list[Any] = [
    {"v": {"$nope": 1}},
    {"v": {"$in": "a"}},
    {"v": {"$nin": 1}},
    {"v": {"$exists": 1}},
    {"v": {"$exists": "true"}},
    {"v": {"$type": 1}},
    {"v": {"$size": "1"}},
    {"v": {"$size": -1}},
    {"v": {"$size": 1.5}},
    {"v": {"$mod": 2}},
    {"v": {"$mod": [2]}},
    {"v": {"$mod": [2.5, 0]}},
    {"v": {"$regex": "("}},
    {"v": {"$regex": 1}},
    {"v": {"$all": "a"}},
    {"v": {"$elemMatch": "a"}},
    {"v": {"$allMatch": ["a"]}},
    {"v": {"$beginsWith": 1}},
    {"$and": {"v": 1}},
    {"$or": "a"},
    {"$nor": {"v": 1}},
    {"$not": [1]},
    {"$gt": 1},
    {"$where": "true"},
    {"v..n": 1},
    {"v.": 1},
    {"": 1},
]
RECORDED = Path(__file__).parents[1] / "data" / "mango-3.5.0.ndjson"


def main(url: str) -> None:
    """Record what a CouchDB answers: python -m tests.support.mango_cases URL."""
    database = f"{url}/t_mango_cases"
    support.request("DELETE", database)
    support.request("PUT", database)
    support.request(
        "POST", f"{database}/_bulk_docs", {"docs": [{"_id": id, **doc} for id, doc in DOCUMENTS.items()]}
    )
    lines = []
    for selector in [*SELECTORS, *REFUSED]:
        _, answer = support.request("POST", f"{database}/_find", {"selector": selector, "limit": 1000})
        ids = [document["_id"] for document in answer["docs"]] if "docs" in answer else None
        lines.append(json.dumps({"selector": selector, "found": ids, "error": answer.get("error")}))
    support.request("DELETE", database)
    RECORDED.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
