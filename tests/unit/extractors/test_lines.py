"""Reading files block by block and line by line."""

from __future__ import annotations

import errno
import gzip
import io
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from migrator.errors import CheckpointError, ConfigError, EndpointError
from migrator.extractors.lines import BLOCK_BYTES, TextFile, read_lines
from migrator.files.identity import file_identity

TEXT = b"".join(b"line %d\n" % number for number in range(50_000))
PACKERS: dict[str, Callable[[bytes], bytes]] = {"a": bytes, "a.gz": gzip.compress, "a.zst": zstandard.compress}


def read_all(path: Path, *, offset: int = 0, size: int = 1000) -> bytes:
    """All that a TextFile gives."""
    with TextFile(path, offset=offset) as file:
        blocks = []
        while block := file.read(size):
            assert len(block) <= size
            blocks.append(block)
        return b"".join(blocks)


def test_lines_end_at_newlines_only() -> None:
    """Neither a lone carriage return nor Unicode's separators end a line; one before a newline is left out."""
    text = "a\u2028b\u0085c\x0bd\re\r\n\n\r\nlast\r".encode()
    expected = [(14, 1, "a\u2028b\u0085c\x0bd\re".encode()), (15, 2, b""), (17, 3, b""), (22, 4, b"last")]
    assert expected == list(read_lines(io.BytesIO(text)))


def test_lines_go_on_from_a_start() -> None:
    """Offsets and numbers go on from where the stream is said to stand."""
    assert list(read_lines(io.BytesIO(b"c\nd"), start=(4, 2))) == [(6, 3, b"c"), (7, 4, b"d")]


def test_lines_longer_than_a_block() -> None:
    """A line may be as long as is allowed, whatever the size of the blocks."""
    long = b"x" * (3 * BLOCK_BYTES + 7)
    found = list(read_lines(io.BytesIO(b"a\n" + long + b"\r\nb\n")))
    assert [b"a", long, b"b"] == [line for _, _, line in found]
    assert len(long) + 6 == found[-1][0]


@pytest.mark.parametrize("place", ["first", "middle", "last", "end"])
def test_too_long_lines_are_passed_over(place: str) -> None:
    """A line over the limit has its number and end, and no bytes; a line at the limit is whole."""
    lines = {
        "first": [b"x" * 11, b"y" * 10],
        "middle": [b"y" * 10, b"x" * 11, b"z"],
        "last": [b"y" * 10, b"x" * 11],
        "end": [b"y" * 10, b"x" * (2 * BLOCK_BYTES)],
    }[place]
    text = b"\n".join(lines) + (b"" if place == "end" else b"\n")
    found = list(read_lines(io.BytesIO(text), max_line_bytes=10))
    assert [None if len(line) > 10 else line for line in lines] == [line for _, _, line in found]
    assert list(range(1, len(lines) + 1)) == [number for _, number, _ in found]
    assert len(text) == found[-1][0]


@pytest.mark.parametrize("name", PACKERS)
def test_text_is_read_from_any_offset(tmp_path: Path, name: str) -> None:
    """Plain or packed, the text is the same, from the start, the middle and the end."""
    path = tmp_path / name
    path.write_bytes(PACKERS[name](TEXT))
    for offset in (0, 1, 123_456, len(TEXT)):
        assert TEXT[offset:] == read_all(path, offset=offset)


@pytest.mark.parametrize("name", ["a.gz", "a.zst"])
def test_joined_packed_files_are_one(tmp_path: Path, name: str) -> None:
    """Several members or frames after one another are read through to the last."""
    path = tmp_path / name
    path.write_bytes(b"".join(PACKERS[name](part) for part in (b"one\n", b"", b"two\n" * 1000, b"three")))
    assert read_all(path) == b"one\n" + b"two\n" * 1000 + b"three"


def test_skippable_frames_are_skipped(tmp_path: Path) -> None:
    """A Zstandard file may hold frames that are not data."""
    path = tmp_path / "a.zst"
    skippable = (0x184D2A50).to_bytes(4, "little") + (3).to_bytes(4, "little") + b"???"
    path.write_bytes(skippable + zstandard.compress(b"text") + skippable)
    assert read_all(path) == b"text"


@pytest.mark.parametrize("name", ["a.gz", "a.zst"])
@pytest.mark.parametrize("damage", ["cut off", "cut to a stub", "bad byte", "not packed", "junk after", "empty"])
def test_a_damaged_packed_file_is_an_error(tmp_path: Path, name: str, damage: str) -> None:
    """Whatever is wrong with it, it is never taken for a shorter whole one, and the message has the place."""
    path = tmp_path / name
    good = PACKERS[name](TEXT)
    if name == "a.zst":
        good = zstandard.ZstdCompressor(write_checksum=True).compress(TEXT)
    middle = len(good) // 2
    path.write_bytes(
        {
            "cut off": good[:-1],
            "cut to a stub": good[:3],
            "bad byte": good[:middle] + bytes([good[middle] ^ 255]) + good[middle + 1 :],
            "not packed": TEXT,
            "junk after": good + b"junk",
            "empty": b"",
        }[damage]
    )
    with pytest.raises(ConfigError, match=re.escape(str(path))):
        read_all(path)


def test_a_window_too_large_is_refused(tmp_path: Path) -> None:
    """A file that asks for gigabytes to unpack it does not get them."""
    path = tmp_path / "a.zst"
    parameters = zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=True)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    path.write_bytes(packer.compress(TEXT) + packer.flush())
    with pytest.raises(ConfigError, match="damaged"):
        read_all(path)


@pytest.mark.parametrize("name", ["a.gz", "a.zst"])
def test_a_bomb_takes_little_memory(tmp_path: Path, name: str) -> None:
    """A small file that unpacks to a huge line is passed over without holding the line."""
    path = tmp_path / name
    packer = zstandard.ZstdCompressor().compressobj() if name == "a.zst" else None
    zeros = bytes(1 << 20)
    if packer:
        path.write_bytes(b"".join(packer.compress(zeros) for _ in range(200)) + packer.flush())
    else:
        with gzip.open(path, "wb", compresslevel=1) as file:
            for _ in range(200):
                file.write(zeros)
    tracemalloc.start()
    with TextFile(path) as text:
        found = list(read_lines(text, max_line_bytes=1 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [(200 << 20, 1, None)]
    assert peak < 120 << 20


def test_a_file_that_shrank_is_no_place_to_go_on(tmp_path: Path) -> None:
    """An offset after the end belongs to another file."""
    for name, pack in PACKERS.items():
        (tmp_path / name).write_bytes(pack(b"abc"))
        with pytest.raises(CheckpointError, match="shorter"):
            TextFile(tmp_path / name, offset=4)


def test_a_file_that_cannot_be_opened_or_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing or unreadable is said in one sentence with the path; a failing disk is not a broken file."""
    with pytest.raises(ConfigError, match=r"There is no file .*missing"):
        TextFile(tmp_path / "missing")
    with pytest.raises(ConfigError, match="cannot be opened: Is a directory"):
        TextFile(tmp_path)
    with pytest.raises(ConfigError, match="There is no file"):
        file_identity(tmp_path / "missing")

    class BadDisk:
        def read(self, _size: int) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    (tmp_path / "a").write_bytes(b"abc")
    with TextFile(tmp_path / "a") as file:
        monkeypatch.setattr(file, "_source", BadDisk())
        with pytest.raises(EndpointError, match="byte 0: Input/output error"):
            file.read(1)


def test_identity_tells_files_apart(tmp_path: Path) -> None:
    """Size, head and tail count; the same content is the same."""
    body = bytes(1 << 20)
    path = tmp_path / "a"
    found = []
    for text in (body, body, body + b"x", b"x" + body[1:], body[:-1] + b"x", b"", b"x"):
        path.write_bytes(text)
        found.append(file_identity(path))
    assert found[0] == found[1]
    assert len(set(found)) == 6
