"""What a database holds, leaf by leaf, asked without the library under test; and databases worth copying."""

from __future__ import annotations

import base64
import random
from typing import Any
from urllib.parse import quote

from tests import support

BYTES = bytes(range(256))


def leaf(id: str, *revs: str, deleted: bool = False, files: dict[str, bytes] | None = None, **fields: Any) -> Any:
    """A leaf with its ancestry, the newest revision first: `leaf("a", "3-c", "2-b")`."""
    start, _, newest = revs[0].partition("-")
    document: dict[str, Any] = {"_id": id, "_rev": revs[0], **fields}
    document["_revisions"] = {"start": int(start), "ids": [newest, *(rev.partition("-")[2] for rev in revs[1:])]}
    if deleted:
        document["_deleted"] = True
    if files:
        document["_attachments"] = {
            name: {"content_type": _type(name), "revpos": 1, "data": base64.b64encode(data).decode()}
            for name, data in files.items()
        }
    return document


def _type(name: str) -> str:
    return "text/plain" if name.endswith(".txt") else "application/octet-stream"


def make(server: str, database: str) -> None:
    """Make a database."""
    assert support.request("PUT", f"{server}/{quote(database, safe='')}")[0] == 201


def write(server: str, database: str, *leaves: Any) -> None:
    """Write leaves as they are, design documents last: one node can refuse what is in the same request by them."""
    designs = [leaf for leaf in leaves if leaf["_id"].startswith("_design/")]
    for docs in filter(None, ([leaf for leaf in leaves if leaf not in designs], designs)):
        body = {"new_edits": False, "docs": docs}
        status, rows = support.request("POST", f"{server}/{quote(database, safe='')}/_bulk_docs", body)
        assert status == 201
        assert [row for row in rows if "error" in row] == []


def state(server: str, database: str) -> dict[tuple[str, str], Any]:
    """Every leaf by id and revision: its fields with its ancestry, and the type and bytes of each attachment."""
    url = f"{server}/{quote(database, safe='')}"
    rows = support.feed(server, database)
    found: dict[tuple[str, str], Any] = {}
    asked = [{"id": row["id"], "rev": change["rev"]} for row in rows for change in row["changes"]]
    for begin in range(0, len(asked), 200):
        body = {"docs": asked[begin : begin + 200]}
        status, answer = support.request("POST", f"{url}/_bulk_get?revs=true&attachments=true", body)
        assert status == 200
        for result in answer["results"]:
            for row in result["docs"]:
                document = row["ok"]
                files = {
                    name: (file["content_type"], base64.b64decode(file["data"]))
                    for name, file in document.pop("_attachments", {}).items()
                }
                found[document["_id"], document["_rev"]] = (document, files)
    assert len(found) == len(asked)
    return found


def odd_leaves() -> list[Any]:
    """Whatever a copy might trip over."""
    return [
        leaf("_design/view", "1-a", views={"v": {"map": "function (doc) { emit(doc._id); }"}}),
        leaf("conflict", "2-b", "1-a", n=1.0, files={"h é/ü.txt": b"hello " * 999, "empty": b""}),
        leaf("conflict", "2-c", "1-a", n=12345678901234567890123),
        leaf("conflict", "3-e", "2-d", "1-a", deleted=True, why="it was wrong"),
        leaf("deep" * 2_500, "1-a", files={"bytes": BYTES * 1_000, "o": b""}),
        leaf("gone", "2-b", "1-a", deleted=True),
        leaf("large", "1-a", files={"bytes": BYTES * 4_000, "text.txt": b"abc" * 99_999, "é": b"x"}),
        leaf(
            "nested",
            "1-a",
            s='}]},{"id":"x","docs":[{"ok":{"_id":',
            t=',"_revisions":{"start":1,"ids":["a"]}',
            o={"results": [{"id": "q", "docs": [{"ok": {"_id": "z", "_rev": "1-a", "_deleted": True}}]}]},
            p=[{"id": "q", "docs": [{"ok": {"_id": "z", "_revisions": {"start": 1, "ids": ["a"]}}}]}],
        ),
        leaf("stemmed", "9-i", "8-h", "7-g"),
        *(leaf(id, "1-a", name=id) for id in ("a b", "a/b", "a\nb", '"', "%2F", "+", "..", "é", "日本", "😀")),
    ]


def random_leaves(seed: int, *, ids: int = 12) -> list[Any]:
    """Documents with trees of revisions, some of them deleted, some with attachments."""
    rng = random.Random(seed)
    leaves: list[Any] = []
    for number in range(ids):
        paths = [[f"1-{rng.randrange(16**8):08x}"]]
        for _ in range(rng.randrange(6)):
            path = rng.choice(paths)
            child = [f"{len(path) + 1}-{rng.randrange(16**8):08x}", *path]
            if rng.random() < 0.5:
                paths.remove(path)
            paths.append(child)
        tips = [path for path in paths if not any(path[0] in other[1:] for other in paths)]
        for path in tips:
            files = {f"f{n}": rng.randbytes(rng.choice([0, 10, 100_000])) for n in range(rng.choice([0, 0, 0, 2]))}
            deleted = rng.random() < 0.2
            leaves.append(leaf(f"d{number:03}", *path, deleted=deleted, files=files, n=rng.random()))
    return leaves
