"""Reading NDJSON files."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import zstandard

from migrator.errors import CheckpointError, ConfigError
from migrator.extractors.ndjson import NdjsonExtractor
from migrator.pipeline.wrapper import RetryingExtractor
from migrator.retry.retrier import Retrier


def test_lines_are_handed_on_as_they_are(tmp_path: Path) -> None:
    """Blank lines and a byte order mark are left out; nothing else is looked at, least of all a torn line."""
    path = tmp_path / "a.ndjson"
    path.write_bytes(b'\xef\xbb\xbf{"_id":"1"}\r\n\n \t \r\n [1] \n\xff\n{"_id":"2"')
    texts = [record.text for record in NdjsonExtractor(path).extract("a")]
    assert texts == [b'{"_id":"1"}', b" [1] ", b"\xff", b'{"_id":"2"']


def test_a_mark_alone_is_no_document(tmp_path: Path) -> None:
    """A file with a byte order mark and nothing more is empty; elsewhere the mark is text."""
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"\xef\xbb\xbf\n")
    assert list(NdjsonExtractor(path).extract("a")) == []
    path.write_bytes(b"{}\n\xef\xbb\xbf{}\n")
    assert [record.text for record in NdjsonExtractor(path).extract("a")] == [b"{}", b"\xef\xbb\xbf{}"]


def test_positions_name_their_lines(tmp_path: Path) -> None:
    """A position is turned into file:line, blank lines counted."""
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"{}\n\n{}\n")
    extractor = NdjsonExtractor(path)
    places = [extractor.describe_position("a", record.position) for record in extractor.extract("a")]
    assert [f"{path}:1", f"{path}:3"] == places


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_line_too_long_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """It has its place, and reading goes on after it, also after it."""
    text = b'{"a":1}\n' + b"x" * 100 + b'\n{"b":1}\n'
    path = tmp_path / f"a.ndjson{suffix}"
    path.write_bytes(gzip.compress(text) if suffix else text)
    monkeypatch.setattr("migrator.extractors.ndjson.MAX_LINE_BYTES", 50)
    extractor = NdjsonExtractor(path)
    first, second, third = extractor.extract("a")
    assert second.fault is not None
    assert ("line_too_long", f"{path}:2: the line is longer than 50 bytes") == second.fault[:2]
    assert (first.text, third.text) == (b'{"a":1}', b'{"b":1}')
    assert [third] == list(extractor.extract("a", after=second.position))


def test_files_are_found_by_their_names(tmp_path: Path) -> None:
    """Each kind of name is one collection, percent signs decoded; other files, folders and dotfiles are not."""
    for name in (
        "b.ndjson",
        "a.jsonl.gz",
        "c%2Fd.ndjson.zst",
        "x.ndjson.jsonl",
        "UP.NDJSON",
        "notes.txt",
        "._b.ndjson",
        "y.ndjson.part",
    ):
        (tmp_path / name).touch()
    (tmp_path / "folder.ndjson").mkdir()
    (tmp_path / "linked.ndjson").symlink_to(tmp_path / "b.ndjson")
    assert NdjsonExtractor(tmp_path).collections() == ("UP", "a", "b", "c/d", "linked", "x.ndjson")
    assert NdjsonExtractor(tmp_path / "x.ndjson.jsonl").collections() == ("x.ndjson",)


def test_two_files_of_one_collection_are_refused(tmp_path: Path) -> None:
    """Which of them counts cannot be known, so both are named."""
    (tmp_path / "a b.ndjson").touch()
    (tmp_path / "a%20b.jsonl.gz").touch()
    with pytest.raises(
        ConfigError, match=r"a b\.ndjson and .*a%20b\.jsonl\.gz are both files of the collection 'a b'"
    ):
        NdjsonExtractor(tmp_path)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    """A missing path, a folder without files, a wrong name and a dead link each have their sentence and remedy."""
    with pytest.raises(ConfigError, match=r"There is no file or folder .*missing"):
        NdjsonExtractor(tmp_path / "missing")
    with pytest.raises(ConfigError, match=r"no NDJSON file\. Expected: <collection>\.ndjson, .*\.jsonl\.zst"):
        NdjsonExtractor(tmp_path)
    (tmp_path / "a.csv").touch()
    with pytest.raises(ConfigError, match=r"a\.csv is not NDJSON by its name"):
        NdjsonExtractor(tmp_path / "a.csv")
    (tmp_path / "a.ndjson.part").touch()
    with pytest.raises(ConfigError, match=r"a\.ndjson\.part was left by a run that did not finish"):
        NdjsonExtractor(tmp_path)
    (tmp_path / "b.ndjson").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="link to a file that is not there"):
        NdjsonExtractor(tmp_path)


def test_counts_lines_without_an_end(tmp_path: Path) -> None:
    """The last line counts with and without its end; packed and huge files are not counted."""
    for text, expected in ((b"", 0), (b"{}", 1), (b"{}\n", 1), (b"{}\n{}", 2)):
        (tmp_path / "a.ndjson").write_bytes(text)
        assert expected == NdjsonExtractor(tmp_path).count("a")
    (tmp_path / "b.ndjson.gz").write_bytes(gzip.compress(b"{}\n"))
    with (tmp_path / "c.ndjson").open("wb") as file:
        file.truncate(50_000_001)
    extractor = NdjsonExtractor(tmp_path)
    assert (extractor.count("b"), extractor.count("c")) == (None, None)


@pytest.mark.parametrize("position", ["", "1", "x:1", "1:x", "-1:1", 7])
def test_a_position_of_another_kind_is_refused(tmp_path: Path, position: str | int) -> None:
    """A damaged position is an error and not a wrong place."""
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"{}\n")
    with pytest.raises(CheckpointError, match="position"):
        list(NdjsonExtractor(path).extract("a", after=position))


def test_a_position_must_be_behind_a_line(tmp_path: Path) -> None:
    """An offset in the middle of a line belongs to another file; that after a last line without end is fine."""
    path = tmp_path / "a.ndjson"
    path.write_bytes(b'{"a":1}\n{"b":2}')
    extractor = NdjsonExtractor(path)
    with pytest.raises(CheckpointError, match="no line ends at byte 5"):
        list(extractor.extract("a", after="5:1"))
    assert list(extractor.extract("a", after="15:2")) == []
    with pytest.raises(CheckpointError, match="shorter"):
        list(extractor.extract("a", after="99:2"))


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_knows_how_much_of_the_file_was_read(tmp_path: Path, suffix: str) -> None:
    """By its bytes, as the documents of a large file are not counted; of a packed one about that."""
    text = b"".join(b'{"_id":"%06d","n":%d}\n' % (number, number * 7919) for number in range(60_000))
    packed = {"": text, ".gz": gzip.compress(text), ".zst": zstandard.ZstdCompressor().compress(text)}
    (tmp_path / f"a.ndjson{suffix}").write_bytes(packed[suffix])
    source = RetryingExtractor(NdjsonExtractor(tmp_path), Retrier())
    assert source.share("a") is None
    shares = []
    for number, record in enumerate(source.extract("a"), 1):
        if not number % 15_000:
            shares.append(source.share("a") or 0)
            half = record.position
    assert shares == pytest.approx([0.25, 0.5, 0.75, 1.0], abs=0.05 if suffix else 0.01)
    assert source.share("a", half) == shares[-1]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_damaged_file_has_a_share_all_the_same(tmp_path: Path, suffix: str) -> None:
    """Whoever reads it says what is wrong; to show how far it is must not."""
    (tmp_path / f"a.ndjson{suffix}").write_bytes(b"not packed")
    assert NdjsonExtractor(tmp_path).share("a", "5:1") == 1.0
