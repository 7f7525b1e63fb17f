"""couchdb-python's dumps: nested, with names of all kinds, proved by their sums, and damaged."""

from __future__ import annotations

import importlib
import io
import sys
import types
import warnings
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from migrator.codec.reading import without_members
from migrator.convert.formats.multipart_reader import header_text
from migrator.convert.formats.table import open_reader
from migrator.model.revisions import Leaf
from tests.unit.convert.support import DATA, attached, leaf, read, shown, write

LEAVES = [
    leaf("plain", ["a"], '"n":1.0,"big":123456789012345678901'),
    leaf("é 線\n=?utf-8?q?x?= " + "ü" * 90, ["b"]),
    leaf("attached", ["c"])._replace(
        attachments=(
            attached("text", b"\r\n--==\r\nx\n"),
            attached("empty", b"", "image/png"),
            attached("é" * 80 + ".bin", bytes(range(256)) * 5000, "application/x-thing"),
            attached(" spaced ", b"\n"),
        )
    ),
    leaf("last", ["d"], '"x":"\u2028"'),
]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_what_is_written_is_read(tmp_path: Path, suffix: str) -> None:
    """Every text and byte, plain and packed, where an attachment is read again from its place."""
    path = tmp_path / f"x.dump{suffix}"
    write(path, "couchdb-python", LEAVES)
    leaves, faults = read(path)
    assert [] == faults
    if not suffix:
        assert shown(LEAVES) == shown(leaves)
        assert shown(leaves) == shown(leaves)
    assert [each.body for each in LEAVES] == [each.body for each in leaves]


def test_an_unpacked_copy_is_removed(tmp_path: Path) -> None:
    """It lies beside the file while that is read, and no longer."""
    path = tmp_path / "x.dump.zst"
    write(path, "couchdb-python", LEAVES)
    reader = open_reader(path)
    leaves = [item for item in reader.leaves() if isinstance(item, Leaf)]
    assert 2 == len(list(tmp_path.iterdir()))
    assert shown(LEAVES) == shown(leaves)
    reader.close()
    assert [path] == list(tmp_path.iterdir())


def test_couchdb_python_reads_what_we_write(tmp_path: Path) -> None:
    """The tool's own reader finds the same documents, names and bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        multipart = _their_module()
    path = tmp_path / "x.dump"
    write(path, "couchdb-python", LEAVES)
    found: list[Any] = []
    for headers, nested, payload in multipart.read_multipart(io.BytesIO(path.read_bytes())):
        parts = [(dict(inner), body) for inner, _, body in payload] if nested else [({}, payload)]
        (_, text), *attachments = parts
        found.append(
            (headers["content-id"], text, [(h["content-id"], h["content-type"], b) for h, b in attachments])
        )
    expected = [
        (
            each.id,
            without_members(each.body, {"_revisions"}),
            [(a.name, a.content_type, b"".join(a.open())) for a in each.attachments],
        )
        for each in LEAVES
    ]
    assert expected == found


def _their_module() -> Any:
    """couchdb-python's module; since Python 3.13 it lacks `cgi`, of which it needs one function."""

    def parse_header(line: str) -> tuple[str, dict[str, str]]:
        message = Message()
        message["content-type"] = line
        (kind, _), *params = message.get_params() or [("", "")]
        return kind, dict(params)

    if sys.version_info >= (3, 13):
        stand_in = types.ModuleType("cgi")
        stand_in.parse_header = parse_header  # type: ignore[attr-defined]
        sys.modules.setdefault("cgi", stand_in)
    return importlib.import_module("couchdb.multipart")


def recorded() -> bytes:
    """What couchdb-python wrote."""
    return (DATA / "couchdb-python-1.2.dump").read_bytes()


def test_line_ends_of_another_system_break_only_the_sums(tmp_path: Path) -> None:
    """Where a transfer changed the ends of lines, what has changed by it is found out."""
    path = tmp_path / "x.dump"
    path.write_bytes(recorded().replace(b"\r\n", b"\n"))
    leaves, faults = read(path)
    assert ["damaged"] == [fault.error for fault in faults]
    assert ["attached"] == [fault.id for fault in faults]
    assert 6 == len(leaves)


def damaged() -> Iterator[tuple[int, bytes]]:
    """The recorded file with one byte changed, at many places."""
    text = recorded()
    for at in range(0, len(text), 31):
        yield at, text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]


def test_no_changed_byte_goes_unseen(tmp_path: Path) -> None:
    """Wherever one byte is another, a fault says so, or what is read is the same (an ETag, a name of a header)."""
    path = tmp_path / "x.dump"
    path.write_bytes(recorded())
    whole = shown(read(path)[0])
    unseen = []
    for at, text in damaged():
        path.write_bytes(text)
        leaves, faults = read(path, "couchdb-python")
        if not faults and shown(leaves) != whole:
            unseen.append((at, recorded()[at - 20 : at + 20]))
    # A content type and an attachment's own name are in no sum.
    assert all(
        b"Content-Type: " in around or b"Content-ID: " in around or b"; ch" in around for _, around in unseen
    )


def test_a_file_that_was_cut_off(tmp_path: Path) -> None:
    """However short, it is never taken for a whole one."""
    path = tmp_path / "x.dump"
    text = recorded()
    for cut in [*range(0, len(text) - 3, 97), len(text) - 3, len(text) - 2]:
        path.write_bytes(text[:cut])
        assert read(path, "couchdb-python")[1], cut


def test_a_document_too_large_to_hold(tmp_path: Path) -> None:
    """It is named, and those beside it are read; an attachment may be longer."""
    path = tmp_path / "x.dump"
    large = leaf("large", ["a"], f'"x":"{"x" * 100_000}"')
    write(path, "couchdb-python", [large, *LEAVES])
    leaves, faults = read(path, None, max_document_bytes=50_000)
    assert shown(LEAVES) == shown(leaves)
    assert [("large", "document_too_large")] == [(fault.id, fault.error) for fault in faults]


def test_names_in_headers() -> None:
    """RFC 2047 in both of its encodings and in pieces, and what only looks like it."""
    assert "é線" == header_text(b"=?utf-8?b?w6nnt5o=?=")
    assert "é a" == header_text(b"=?utf-8?q?=C3=A9_a?=")
    assert "éé" == header_text(b"=?utf-8?b?w6k=?= =?utf-8?b?w6k=?=")
    assert "=?nonsense?=" == header_text(b"=?nonsense?=")
