"""Backups as one stream: a whole one is read, and one that was cut off, changed or gone on with never is."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import json
import os
import random
import tarfile
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrator.backup.catalog import Catalog
from migrator.backup.check import check
from migrator.backup.format import stream
from migrator.backup.format.stream import StreamWriter, header
from migrator.backup.format.stream_reader import unpack
from migrator.backup.storage.base import Place, open_place
from migrator.errors import ConfigError, DamagedBackup, MigratorError, StorageError
from tests.support.backups import TINY, PlainAttachment, read, simple, streamed, unpacked, write
from tests.unit.cli.test_streams import shell

DATA = Path(__file__).parents[2] / "data"
LEAVES = [simple(n, 1, *([PlainAttachment("photo", bytes(range(200)))] if n == 3 else [])) for n in range(9)]


def two_databases(place: Place) -> None:
    """Two snapshots of different databases, in many files."""
    write(place, LEAVES, **TINY)
    write(place, LEAVES[:2], database="users/$x", **TINY)


@pytest.fixture(scope="module")
def whole() -> bytes:
    """A whole stream."""
    return streamed(two_databases)


def members(data: bytes) -> list[tarfile.TarInfo]:
    """As any reader of tar files sees them."""
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        return found.getmembers()


def made(*files: tuple[str, bytes], end: bool = True) -> bytes:
    """A stream of some files."""
    out = io.BytesIO()
    writer = StreamWriter(out.write)
    for name, data in files:
        writer.add(name, data)
    if end:
        writer.end()
    return out.getvalue()


def test_what_went_in_comes_out(whole: bytes, tmp_path: Path) -> None:
    """However it falls into blocks; and what comes out is a place like any other."""
    for number, block_bytes in enumerate((1, 511, 70_000)):
        place = unpacked(whole, tmp_path / str(number), block_bytes)
        assert Catalog(place).databases() == ["orders", "users/$x"]
        for database, leaves in (("orders", LEAVES), ("users/$x", LEAVES[:2])):
            latest = Catalog(place).latest(database)
            assert latest is not None
            assert read(place, latest) == leaves
        assert check(place, ["orders", "users/$x"]).ok


def test_other_programs_read_it(whole: bytes, tmp_path: Path) -> None:
    """`tar` unpacks a place, and `sha256sum` compares it with the lists."""
    (tmp_path / "whole.tar").write_bytes(whole)
    done = shell(
        "mkdir p; tar -xf whole.tar -C p; cd p; sha256sum --quiet --strict -c .stream/sha256-*.txt && echo same",
        tmp_path,
    )
    assert (done.stdout, done.stderr) == ("same\n", "")
    assert check(open_place(str(tmp_path / "p")), ["orders", "users/$x"]).ok
    listed = b"".join(path.read_bytes() for path in sorted((tmp_path / "p" / ".stream").glob("sha256-*")))
    end = json.loads((tmp_path / "p" / ".stream" / "end.json").read_bytes())
    assert end["lists_sha256"] == hashlib.sha256(listed).hexdigest()
    assert (
        end["files"] == listed.count(b"\n") == len([each for each in members(whole) if each.name[:7] != ".stream"])
    )


def test_a_cut_stream_is_never_taken_for_a_whole_one(whole: bytes, tmp_path: Path) -> None:
    """At every border of what is in it, and anywhere else; the byte is named, and the file or that none came."""
    rng = random.Random(1)
    borders = {
        at for each in members(whole) for at in (each.offset, each.offset_data, each.offset_data + each.size)
    }
    cuts = {0, 1, 20, 511, *borders, *rng.sample(range(len(whole)), 200), len(whole) - 1, len(whole) - 1024}
    for cut in sorted(cuts):
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder, pytest.raises(DamagedBackup) as error:
            unpacked(whole[:cut], Path(folder) / "place", 1000)
        assert f"Standard input ends at byte {cut:,}, " in error.value.message
    [first] = [each for each in members(whole) if each.name.endswith("segment-000001.ndjson.zst")][:1]
    with pytest.raises(DamagedBackup) as error:
        unpacked(whole[: first.offset_data + 7], tmp_path / "place")
    snapshot = first.name.split("/")[2]
    assert f"in the middle of segment-000001.ndjson.zst of the snapshot {snapshot} of 'orders'." in str(
        error.value
    )
    assert "pipefail" in error.value.hint


def test_a_changed_byte_is_found_wherever_it_is(whole: bytes, tmp_path: Path) -> None:
    """In a header, a file, a list, between files, behind the end."""
    rng = random.Random(2)
    # Some headers and what follows them, and others.
    ats = {*range(0, 1536, 7), *range(len(whole) - 2600, len(whole), 5), *rng.sample(range(len(whole)), 250)}
    for at in sorted(ats):
        changed = bytearray(whole)
        changed[at] ^= 1 << rng.randrange(8)
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder, pytest.raises(MigratorError) as error:
            unpacked(bytes(changed), Path(folder) / "place")
        assert isinstance(error.value, DamagedBackup) or at < 1024, at


def test_a_changed_byte_is_placed(whole: bytes, tmp_path: Path) -> None:
    """Between which bytes, and in which file of which database."""
    index = [each for each in members(whole) if each.name.endswith("index-000001.ndjson.zst")][-1]
    changed = bytearray(whole)
    changed[index.offset_data + 3] ^= 1
    with pytest.raises(DamagedBackup) as error:
        unpacked(bytes(changed), tmp_path / "place")
    end = index.offset_data + (index.size + 511) // 512 * 512
    assert f"between byte {index.offset:,} and byte {end:,}: index-000001.ndjson.zst of" in error.value.message
    assert "of 'users/$x' does not fit its digest" in error.value.message


def test_what_is_left_out_doubled_or_put_elsewhere_is_missed(whole: bytes, tmp_path: Path) -> None:
    """Each file is named by a list, and each list by the end."""
    found = members(whole)
    parts = [whole[each.offset : after.offset] for each, after in zip(found, [*found[1:], found[-1]], strict=True)]
    parts[-1] = whole[found[-1].offset :]
    assert b"".join(parts) == whole
    for number in range(1, len(parts)):
        for changed in (
            [*parts[:number], *parts[number + 1 :]],
            [*parts[:number], parts[number], *parts[number:]],
            [*parts[: number - 1], parts[number], parts[number - 1], *parts[number + 1 :]],
        ):
            with tempfile.TemporaryDirectory(dir=tmp_path) as folder, pytest.raises(MigratorError):
                unpacked(b"".join(changed), Path(folder) / "place")
    monkey = made(("a", b"1"), ("a", b"1"))
    with pytest.raises(DamagedBackup, match="a comes a second time"):
        unpacked(monkey, tmp_path / "twice")


def test_a_list_that_is_left_out_with_its_files_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle by the number of the next one, and the last one by the end."""
    monkeypatch.setattr(stream, "MAX_LISTED", 3)
    data = made(*((f"databases/{number}", b"x") for number in range(9)))
    found = members(data)
    lists = [each for each in found if "sha256" in each.name]
    for number, says in ((0, "is not the next list"), (1, "is not the next list"), (2, "does not fit what came")):
        start = found[found.index(lists[number]) - 3].offset
        end = found[found.index(lists[number]) + 1].offset
        with pytest.raises(DamagedBackup, match=says):
            unpacked(data[:start] + data[end:], tmp_path / str(number))


def test_what_follows_the_end(whole: bytes, tmp_path: Path) -> None:
    """Zeros are a tape's; anything else is refused, and where the stream ends is said."""
    unpacked(whole + bytes(100_000), tmp_path / "padded", 777)
    for number, more in enumerate((whole, b"x", bytes(50_000) + b"x")):
        with pytest.raises(DamagedBackup, match=f"whole stream that ends at byte {len(whole):,}, and") as error:
            unpacked(whole + more, tmp_path / str(number))
        assert f"head -c {len(whole)} FILE" in error.value.hint


def other_inputs(whole: bytes) -> Iterator[tuple[bytes, str]]:
    """What is not a stream, and what is said of it."""
    yield b"", "ends at byte 0, before its first byte: nothing came"
    yield gzip.compress(whole), "gunzip < FILE"
    yield b"age-encryption.org/v1\n-> X25519 x", "age -d -i key.txt < FILE"
    yield b'{"_id":"a"}\n' * 99, "is not what migrator backup --to - writes."
    yield whole[1024:], "another tar file"
    yield whole.replace(b'"version":1,"sha', b'"version":1,"shb', 1), "does not fit its digest"


def test_something_else_is_called_what_it_is(whole: bytes, tmp_path: Path) -> None:
    """With what to do about it."""
    for number, (data, says) in enumerate(other_inputs(whole)):
        with pytest.raises((ConfigError, DamagedBackup)) as error:
            unpacked(data, tmp_path / str(number))
        assert says in str(error.value)
    newer = made(("a", b""))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "VERSION", 2)
        newer = made(("a", b""))
    with pytest.raises(ConfigError, match=r"newer migrator \(format 2; this one knows 1\)"):
        unpacked(newer, tmp_path / "newer")


@pytest.mark.parametrize("name", ["../a", "/a", "a/../b", "a//b", "a/.", "..", "a b", "ü", "a\\b", "a\nb"])
def test_no_name_leads_elsewhere(name: str, tmp_path: Path) -> None:
    """Whatever a stream says, its files are below the folder."""
    data = made(("databases/a", b"1"), end=False) + header(name, 1, 0) + b"x" + bytes(511)
    with pytest.raises(DamagedBackup, match="something else than a file"):
        unpacked(data, tmp_path / "deep" / "place")
    assert not (tmp_path / "a").exists()
    assert {path.name for path in (tmp_path / "deep").iterdir()} <= {"place"}


def test_a_stream_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """The file was written when there were streams first; what headers are made of has not changed since."""
    data = (DATA / "stream-v1.tar").read_bytes()
    place = unpacked(data, tmp_path / "place")
    assert check(place, Catalog(place).databases()).ok
    latest = Catalog(place).latest("orders")
    assert latest is not None
    assert read(place, latest) == LEAVES[:4]
    for each in members(data):
        assert data[each.offset : each.offset_data] == header(each.name, each.size, int(each.mtime))


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    """Only files are written."""
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
        info = tarfile.TarInfo("databases/link")
        info.type, info.linkname, info.mode = kind, "/etc/passwd", 0o600
        data = made(("databases/a", b"1"), end=False) + info.tobuf(tarfile.PAX_FORMAT)
        with pytest.raises(DamagedBackup, match="something else than a file"):
            unpacked(data, tmp_path / kind.decode())


def test_long_names(tmp_path: Path) -> None:
    """As tar files have them since 2001."""
    names = [f"databases/{'x' * 240}/20261125T101500.123Z-4f2a9c/segment-000001.ndjson.zst", "a" * 100, "b" * 101]
    data = made(*((name, name.encode()) for name in names))
    assert {name: (tmp_path / "p" / name).read_text() for name in names if unpack_once(data, tmp_path)} == {
        name: name for name in names
    }
    for cut in range(512, len(data), 512):
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder, pytest.raises(DamagedBackup):
            unpacked(data[:cut], Path(folder) / "place")


def unpack_once(data: bytes, folder: Path) -> bool:
    """Unpack it where it was not yet."""
    if not (folder / "p").exists():
        unpacked(data, folder / "p")
    return True


def test_memory_is_bounded(tmp_path: Path) -> None:
    """Of who reads, whatever a file's size; of both, whatever their number."""
    size, block = 48 << 20, bytes(1 << 16)

    def large() -> Iterator[bytes]:
        yield made(("databases/x", b""), end=False) + header("databases/large", size, 0)
        yield from itertools.repeat(block, size >> 16)

    def many() -> Iterator[bytes]:
        parts: list[bytes | memoryview] = []
        writer = StreamWriter(parts.append)
        for number in range(4_000):
            writer.add(f"databases/a/{number}", block[:3_000])
            yield b"".join(parts)
            parts.clear()
        writer.end()
        yield b"".join(parts)

    tracemalloc.start()
    try:
        with pytest.raises(DamagedBackup, match="after databases/large"):
            unpack(large(), tmp_path / "p", "standard input")
        unpack(many(), tmp_path / "q", "standard input")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert (tmp_path / "p" / "databases" / "large").stat().st_size == size


def test_a_full_disk_names_tmpdir(whole: bytes, tmp_path: Path) -> None:
    """Exit code 5, nothing is left, and no server was asked."""
    (tmp_path / "whole.tar").write_bytes(whole)
    (tmp_path / "t").mkdir()
    done = shell(
        "ulimit -f 2; export TMPDIR=t; exec migrator restore --from - --to http://localhost:1 < whole.tar",
        tmp_path,
    )
    assert done.returncode == 5
    assert "The copy of standard input" in done.stderr
    assert "set TMPDIR to a folder on a larger disk" in done.stderr
    assert list((tmp_path / "t").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        # Nobody listens there: the stream is refused before a server is asked.
        (
            "cat cut.tar | migrator restore --from - --to http://localhost:1",
            4,
            "Standard input ends at byte 3,000",
        ),
        ("migrator restore --from <(cat cut.tar) --to http://localhost:1", 4, "ends at byte 3,000"),
        ("migrator restore --from - --to http://localhost:1 < /dev/null", 4, "nothing came"),
        ("cat cut.tar | migrator backups check --from -", 4, "Standard input ends at byte 3,000"),
        ("cat whole.tar | migrator backups check --from - --json -q", 0, '"recorded": null'),
        ("cat whole.tar | migrator backups check --from - --max-age 1h --manifests-only", 0, "none was read"),
        ("cat whole.tar | migrator backups show -", 0, "standard input: "),
        ("cat whole.tar | migrator backups show - --html - | grep title", 0, "2 databases"),
        ("cat whole.tar | migrator backups list --from -", 0, ""),
        ("cat whole.tar | migrator backups prune --from - --keep-last 1", 2, "cannot be changed"),
        ("migrator restore --from whole.tar --to http://localhost:1", 2, "--from - < whole.tar"),
        ("migrator restore --from - --to http://localhost:1 < here.txt", 2, "is not what migrator backup --to -"),
        ("migrator backup --from http://localhost:1 --to - --report - | cat", 2, "would both write to"),
        ("script -qec 'migrator backup --from http://localhost:1 --to -' /dev/null", 2, "is a terminal"),
    ],
)
def test_commands_say_it(words: str, code: int, says: str, whole: bytes, tmp_path: Path) -> None:
    """What came through a pipe is used or refused as a whole; nothing is left of it."""
    (tmp_path / "t").mkdir()
    (tmp_path / "whole.tar").write_bytes(whole)
    (tmp_path / "cut.tar").write_bytes(whole[:3000])
    (tmp_path / "here.txt").write_text("nothing of ours\n")
    done = shell(f"set -o pipefail; {words}", tmp_path, {"TMPDIR": str(tmp_path / "t")})
    assert (done.returncode, says in done.stderr + done.stdout) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "t").iterdir()) == []


def test_a_reader_that_has_gone(tmp_path: Path) -> None:
    """It is said once and as what it is: exit code 5."""
    source, sink = os.pipe()
    os.close(source)
    place = open_place(f"/dev/fd/{sink}", output=True)
    with place.lock(), pytest.raises(StorageError, match="cannot be written: its reader has gone"):
        two_databases(place)
    os.close(sink)
