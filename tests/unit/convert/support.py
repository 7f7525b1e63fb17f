"""What the tests of the formats share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from migrator.convert.copy import Conversion, Converter, convert_file
from migrator.convert.formats.reader import FileReader
from migrator.convert.formats.table import WRITERS, open_reader
from migrator.model import Reject
from migrator.model.revisions import Attachment, Leaf, LeafFault

DATA = Path(__file__).parents[2] / "data" / "interchange"


class Leaves(FileReader):
    """A source of leaves that are there already."""

    def __init__(self, items: Sequence[Leaf | LeafFault], *, grouped: bool = True) -> None:
        super().__init__(Path("leaves"))
        self.items = items
        self.grouped = self.ordered = grouped

    def leaves(self, *, after: str | None = None) -> Iterator[Leaf | LeafFault]:
        """All of them."""
        return iter(self.items)


def leaf(id: str, ids: Sequence[str], fields: str = "", *, deleted: bool = False, **attachments: bytes) -> Leaf:
    """A leaf with a body as its readers make it."""
    rev = f"{len(ids)}-{ids[0]}"
    head = f'"_id":{json.dumps(id, ensure_ascii=False)},"_rev":"{rev}"'
    head += f',"_revisions":{{"start":{len(ids)},"ids":{json.dumps(list(ids), separators=(",", ":"))}}}'
    head += ',"_deleted":true' if deleted else ""
    body = "{" + head + ("," + fields if fields else "") + "}"
    return Leaf(id, rev, body.encode(), deleted, tuple(attached(name, data) for name, data in attachments.items()))


def attached(name: str, data: bytes, content_type: str = "text/plain; charset=utf-8") -> Attachment:
    """An attachment that comes in small pieces."""
    return Attachment(
        name, content_type, lambda: iter([data[at : at + 7] for at in range(0, len(data), 7)]), len(data)
    )


def read(path: Path, format: str | None = None, **options: int) -> tuple[list[Leaf], list[LeafFault]]:
    """Everything in a file; attachments as far as they can be read."""
    reader = open_reader(path, format, **options)
    items = list(reader.leaves())
    return (
        [item for item in items if isinstance(item, Leaf)],
        [item for item in items if isinstance(item, LeafFault)],
    )


def write(
    path: Path, format: str, items: Sequence[Leaf | LeafFault], *, grouped: bool = True
) -> tuple[Conversion, list[Reject]]:
    """Write leaves into a file."""
    result = Conversion("source", str(path), format)
    rejects: list[Reject] = []
    converter = Converter(result, rejects.extend)
    convert_file(Leaves(items, grouped=grouped), WRITERS[format], path, converter, overwrite=False)
    assert result.accounted
    return result, rejects


def shown(leaves: Iterable[Leaf]) -> list[Any]:
    """What is compared of leaves: everything, attachments with their bytes."""
    return [
        (
            each.id,
            each.rev,
            json.loads(each.body),
            each.deleted,
            {a.name: (a.content_type, b"".join(a.open())) for a in each.attachments},
        )
        for each in leaves
    ]
