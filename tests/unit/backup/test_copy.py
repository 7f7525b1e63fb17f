"""Copies of places: what is there with the right bytes is not sent again; nothing is mixed, lost or believed."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import threading
import uuid
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migrator.backup.catalog import Catalog, snapshot_folder
from migrator.backup.check import check
from migrator.backup.copy import COUNTS, CopyResult, run_copy
from migrator.backup.format import snapshot_writer
from migrator.backup.format.cipher import PLAIN, Cipher, open_cipher
from migrator.backup.format.manifest import Manifest
from migrator.backup.options import CopyOptions
from migrator.backup.prune import Policy, plan_pruning, prune
from migrator.backup.storage.base import LocalPlace, Place, open_place
from migrator.errors import ConfigError, DamagedBackup, Interrupted, LockedError
from tests.support.backups import FACTS, TINY, PlainAttachment, begin, leaf, read, simple, write
from tests.support.commands import run
from tests.unit.backup.test_cipher import new_key

PHOTO = PlainAttachment("photo", bytes(range(256)) * 3)


@pytest.fixture
def source(tmp_path: Path) -> Place:
    """Two databases; one has a chain of three, whose last points to an attachment in the first, and a fourth."""
    place = open_place(str(tmp_path / "source"))
    full = write(place, [simple(n, 1, *([PHOTO] if n == 4 else [])) for n in range(12)], **TINY)
    second = write(place, [simple(3, 2)], full)
    write(place, [simple(4, 2, PHOTO), simple(5, 2)], second)
    write(place, [simple(n, 3) for n in range(3)])
    write(place, [simple(1)], database="users")
    return place


@pytest.fixture(params=["folder", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a place of each kind."""
    if request.param == "s3":
        return str(request.getfixturevalue("bucket"))
    return {"folder": str(tmp_path / "target"), "memory": f"memory://{uuid.uuid4().hex}"}[request.param]


def copy(source: Place, target: str, **more: Any) -> CopyResult:
    """Copy all of it."""
    return run_copy(CopyOptions(source=source.describe(), target=target, **more))


def contents(place: Place) -> dict[str, bytes]:
    """All files of a place by name."""
    return {name: place.read(name) for name in place.names()}


def states(place: Place, cipher: Cipher = PLAIN) -> dict[tuple[str, str], object]:
    """The state at each snapshot."""
    catalog = Catalog(place, cipher)
    return {
        (name, each.snapshot): read(place, each, cipher)
        for name in catalog.databases()
        for each in catalog.snapshots(name)
    }


def totals(result: CopyResult) -> dict[str, int]:
    """What was copied and what was there."""
    return {name: result.to_dict()["totals"][name] for name in COUNTS}


def test_a_copy_is_the_same(source: Place, url: str) -> None:
    """Byte for byte, at each kind of place; a second one sends nothing; the way back neither."""
    result = copy(source, url)
    target = open_place(url)
    assert contents(target) == contents(source)
    assert states(target) == states(source)
    assert check(target, ["orders", "users"]).ok
    sizes = [each.size_bytes for name in ("orders", "users") for each in Catalog(source).snapshots(name)]
    files = [
        file for name in ("orders", "users") for each in Catalog(source).snapshots(name) for file in each.files
    ]
    assert (result.ok, result.exit_code) == (True, 0)
    assert totals(result) == dict(zip(COUNTS, [5, 0, len(files), 0, sum(sizes), 0], strict=True))
    assert result.to_dict()["databases"]["users"]["snapshots"] == 1
    before = contents(target)
    assert totals(copy(source, url)) == dict(zip(COUNTS, [0, 5, 0, len(files), 0, sum(sizes)], strict=True))
    assert totals(copy(target, source.describe()))["files"] == 0
    assert contents(target) == before


@pytest.mark.parametrize("source_key", ["", "a"])
def test_a_copy_is_encrypted_again(source: Place, url: str, source_key: str, tmp_path: Path) -> None:
    """To another key, from the open or another one's; chains, attachments and counts stay, and it goes on."""
    public, key = new_key(tmp_path, "a.txt")
    other, other_key = new_key(tmp_path, "b.txt")
    expected = states(source)
    if source_key:
        copy(source, str(tmp_path / "sealed"), recipients=(public,))
        source = open_place(str(tmp_path / "sealed"))
        with pytest.raises(ConfigError, match="is encrypted"):
            copy(source, url, recipients=(other,))
    options = {"recipients": (other,), "identity": str(key) if source_key else ""}
    assert totals(copy(source, url, **options))["snapshots"] == 5
    target = open_place(url)
    assert states(target, open_cipher(identity_file=str(other_key))) == expected
    assert check(target, ["orders", "users"], open_cipher(identity_file=str(other_key))).ok
    assert check(target, ["orders", "users"]).sealed == 5
    assert not any(b"doc-00003" in data or b"boss" in data for data in contents(target).values())
    with pytest.raises(ConfigError, match="cannot be decrypted"):
        states(target, open_cipher(identity_file=str(key)))
    assert totals(copy(source, url, **options))["snapshots_there"] == 5
    latest = Catalog(source, open_cipher(identity_file=str(key))).latest("users")
    write(source, [simple(2)], latest, open_cipher([public]) if source_key else PLAIN, "users")
    assert totals(copy(source, url, **options)) | {
        "size_bytes": 0,
        "size_bytes_there": 0,
        "files_there": 0,
    } == dict(zip(COUNTS, [1, 5, 2, 0, 0, 0], strict=True))
    assert len(states(target, open_cipher(identity_file=str(other_key)))) == 6


def test_ciphertext_needs_no_key(source: Place, tmp_path: Path) -> None:
    """Bytes are copied as they are; a key that does not fit is in nobody's way."""
    public, _ = new_key(tmp_path, "a.txt")
    _, wrong = new_key(tmp_path, "b.txt")
    copy(source, str(tmp_path / "sealed"), recipients=(public,))
    sealed = open_place(str(tmp_path / "sealed"))
    for number, identity in enumerate(("", str(wrong))):
        copy(sealed, str(tmp_path / str(number)), identity=identity)
        assert contents(open_place(str(tmp_path / str(number)))) == contents(sealed)


def test_some_of_it(source: Place, tmp_path: Path) -> None:
    """Databases by name; a point in time, with what it adds to."""
    third = Catalog(source).snapshots("orders")[2]
    copy(source, str(tmp_path / "a"), databases=("user*",))
    assert Catalog(open_place(str(tmp_path / "a"))).databases() == ["users"]
    result = copy(source, str(tmp_path / "b"), databases=("orders",), at=third.snapshot)
    assert totals(result)["snapshots"] == 3
    assert list(states(open_place(str(tmp_path / "b")))) == list(states(source))[:3]
    for more in ({"at": "2001-01-01"}, {"databases": ("no*",)}, {"at": "2001-01-01", "databases": ("users",)}):
        with pytest.raises(ConfigError):
            copy(source, str(tmp_path / "c"), **more)
    assert not (tmp_path / "c" / "databases").exists()


def stopping_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the writing of the file after so many fail as a kill would have it."""
    left = Counter(left=count)
    inner = LocalPlace._write

    def written(place: LocalPlace, name: str, data: bytes | memoryview) -> None:
        if left["left"] == 0:
            raise KeyboardInterrupt
        left["left"] -= 1
        inner(place, name, data)

    monkeypatch.setattr(LocalPlace, "_write", written)


@pytest.mark.parametrize("sealed", [False, True])
def test_a_copy_goes_on_wherever_it_was_stopped(source: Place, sealed: bool, tmp_path: Path) -> None:
    """Each file is sent once, what is listed is whole at every moment, and the end is as without a stop."""
    public, key = new_key(tmp_path)
    options: dict[str, Any] = {"recipients": (public,)} if sealed else {}
    cipher = open_cipher(identity_file=str(key)) if sealed else PLAIN
    files = totals(copy(source, str(tmp_path / "once"), **options))["files"]
    stops = 0
    for stop in itertools.count(0, 7):
        url = str(tmp_path / f"t{stop}")
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            stopping_after(stop, patch)
            assert copy(source, url, **options).ok
            break
        stops += 1
        target = open_place(url)
        found = states(target, cipher)
        assert found.items() <= states(source).items()
        there = len([each for each in target.names() if "/segment-" in each or "/index-" in each])
        result = copy(source, url, **options)
        # Of what is encrypted again, the last two files can have been written and not noted.
        assert there - (2 if sealed else 0) <= totals(result)["files_there"] <= there
        assert totals(result)["files"] + totals(result)["files_there"] == files
        assert states(target, cipher) == states(source)
        assert check(target, ["orders", "users"], cipher).ok
        if not sealed:
            assert contents(target) == contents(source)
        assert {path.name for path in (tmp_path / f"t{stop}").rglob("*") if path.is_file()} == {
            path.name for path in (tmp_path / "once").rglob("*") if path.is_file()
        }
    assert stops > 5


@pytest.mark.parametrize("sealed", [False, True])
def test_what_a_stopped_copy_left_is_not_believed(source: Place, sealed: bool, tmp_path: Path) -> None:
    """A file of an unfinished snapshot that has other bytes by now is sent again."""
    public, key = new_key(tmp_path)
    options: dict[str, Any] = {"recipients": (public,)} if sealed else {}
    with pytest.MonkeyPatch.context() as patch:
        stopping_after(9, patch)
        with contextlib.suppress(KeyboardInterrupt):
            copy(source, str(tmp_path / "t"), **options)
    target = open_place(str(tmp_path / "t"))
    [first, *_] = [name for name in target.names() if "/segment-" in name]
    target.write(first, target.read(first)[:-1] + b"x")
    assert copy(source, target.describe(), **options).ok
    cipher = open_cipher(identity_file=str(key)) if sealed else PLAIN
    assert states(target, cipher) == states(source)


def test_ctrl_c_is_heard_between_files(source: Place, tmp_path: Path) -> None:
    """And says how far it came."""
    stopping = threading.Event()
    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        if len(told) == 2:
            stopping.set()

    options = CopyOptions(source=source.describe(), target=str(tmp_path / "t"))
    with pytest.raises(Interrupted, match=r"Stopped after \d+ files"):
        run_copy(options, tell=tell, stopping=stopping)
    assert len(states(open_place(str(tmp_path / "t")))) == 1
    assert run_copy(options).ok


def test_what_is_damaged_is_not_copied(source: Place, tmp_path: Path) -> None:
    """Nor what adds to it; the rest is, it is named, and the exit code is 4. Nothing of it goes through a pipe."""
    full, second, third, fourth = Catalog(source).snapshots("orders")
    path = tmp_path / "source" / snapshot_folder("orders", second.snapshot) / second.segments[0].name
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)
    target = str(tmp_path / "t")
    result = copy(source, target)
    assert (result.exit_code, totals(result)["snapshots"]) == (4, 3)
    assert [(each.database, each.snapshot) for each in result.problems] == [
        ("orders", second.snapshot),
        ("orders", third.snapshot),
    ]
    assert "its digest does not fit" in result.problems[0].what
    assert "was not copied" in result.problems[1].what
    assert [each for _, each in states(open_place(target))] == [
        full.snapshot,
        fourth.snapshot,
        Catalog(source).snapshots("users")[0].snapshot,
    ]
    ran = run("backups", "copy", source.describe(), str(tmp_path / "u"))
    assert (ran.code, f"NOT COPIED orders {second.snapshot}" in ran.output) == (4, True)
    with pytest.raises(DamagedBackup):
        streamed_copy(source)
    # A manifest and its copy.
    for each in (source, open_place(target)):
        for name in ("manifest.json", ".manifest-copy.json"):
            each.remove(f"{snapshot_folder('orders', full.snapshot)}/{name}")
    result = copy(source, str(tmp_path / "v"))
    assert [each.snapshot for each in result.problems] == [full.snapshot, second.snapshot, third.snapshot]


def test_a_damaged_copy_is_made_whole_again(source: Place, tmp_path: Path) -> None:
    """What is missing in the target is sent again, and a manifest that is damaged there; no more."""
    target = open_place(str(tmp_path / "t"))
    copy(source, target.describe())
    full = Catalog(source).snapshots("orders")[0]
    folder = snapshot_folder("orders", full.snapshot)
    target.remove(f"{folder}/{full.segments[1].name}")
    assert totals(copy(source, target.describe()))["files"] == 1
    for name in ("manifest.json", ".manifest-copy.json"):
        target.write(f"{folder}/{name}", b"{}")
    result = totals(copy(source, target.describe()))
    assert (result["snapshots"], result["files"]) == (1, 0)
    target.remove(".snapshots/orders.json")
    copy(source, target.describe())
    assert contents(target) == contents(source)
    assert check(target, ["orders"]).ok


def test_what_is_written_is_compared(source: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that keeps other bytes than it was given is found at once."""
    inner = LocalPlace._write

    def written(place: LocalPlace, name: str, data: bytes | memoryview) -> None:
        inner(place, name, bytes(data)[:-1] + b"x" if name.endswith(".zst") else data)

    monkeypatch.setattr(LocalPlace, "_write", written)
    result = copy(source, str(tmp_path / "t"))
    assert result.exit_code == 4
    assert "right after it was written its digest does not fit" in result.problems[0].what
    assert totals(result)["snapshots"] == 0
    assert states(open_place(str(tmp_path / "t"))) == {}


def other(place: Place, source: str, life: str, parent: Manifest | None = None) -> Manifest:
    """A snapshot of another database of the same name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.support.backups.FACTS", replace(FACTS, instance_start_time=life))
        writer = begin(place, parent)
        writer.manifest = replace(writer.manifest, source=source)
        writer.add(leaf(simple(1)))
        return writer.finish()


@pytest.mark.parametrize(
    ("url", "life", "says"),
    [
        ("http://elsewhere:5984/orders", "1600000000", "was read from http://elsewhere:5984/orders"),
        ("http://elsewhere:5984/orders", "0", "was read from http://elsewhere:5984/orders"),
        ("http://localhost:5984/orders", "1800000000", "from a database that lives on"),
        ("http://localhost:5984/orders", "1700000000", ""),
        # The same server by another name.
        ("http://db-1:5984/orders", "1700000000", ""),
    ],
)
def test_two_databases_of_one_name_are_not_mixed(
    source: Place, url: str, life: str, says: str, tmp_path: Path
) -> None:
    """But what another run backed up of the same one goes in between; nothing is written where it is refused."""
    target = open_place(str(tmp_path / "t"))
    other(target, url, life)
    write(source, [simple(7)])
    other(target, url, life)
    write(source, [simple(8)])
    before = contents(target)
    if says:
        with pytest.raises(ConfigError, match=says):
            copy(source, target.describe())
        assert contents(target) == before
    else:
        copy(source, target.describe())
        assert len(Catalog(target).snapshots("orders")) == 8
        assert check(target, ["orders", "users"]).ok
        assert states(source).items() <= states(target).items()


def test_a_database_that_was_made_again_goes_on(source: Place, tmp_path: Path) -> None:
    """Its snapshots come after those of the one before it."""
    target = open_place(str(tmp_path / "t"))
    other(target, "http://localhost:5984/orders", "1800000000")
    assert copy(source, target.describe()).ok


def test_another_content_under_one_id_is_refused(source: Place, tmp_path: Path) -> None:
    """Nobody can tell which is right."""
    target = open_place(str(tmp_path / "t"))
    full = Catalog(source).snapshots("orders")[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot_writer, "new_snapshot_id", lambda _: full.snapshot)
        write(target, [simple(99)])
    before = contents(target)
    with pytest.raises(ConfigError, match="is there already, with another content"):
        copy(source, target.describe())
    assert contents(target) == before


def test_a_copy_is_of_one_kind(source: Place, tmp_path: Path) -> None:
    """In the open or encrypted again: a place does not become both by a flag that was forgotten."""
    public, _ = new_key(tmp_path)
    copy(source, str(tmp_path / "sealed"), recipients=(public,))
    copy(source, str(tmp_path / "plain"))
    with pytest.raises(ConfigError, match=r"there already, encrypted again. Give the --recipient"):
        copy(source, str(tmp_path / "sealed"))
    with pytest.raises(ConfigError, match=r"there already, as it is in the source"):
        copy(source, str(tmp_path / "plain"), recipients=(public,))


def test_locks(source: Place, tmp_path: Path) -> None:
    """The target is held; the source can be written to, and may be on a disk that cannot."""
    with open_place(str(tmp_path / "t")).lock(), pytest.raises(LockedError):
        copy(source, str(tmp_path / "t"))
    with source.lock():
        assert copy(source, str(tmp_path / "t")).ok
    going = begin(source, database="later")
    going.add(leaf(simple(1)))
    going.save()
    assert copy(source, str(tmp_path / "u")).ok
    assert not any("later" in name for name in open_place(str(tmp_path / "u")).names())


def test_what_is_pruned_meanwhile(source: Place, tmp_path: Path) -> None:
    """Is not missed, and leaves nothing behind; what is kept is copied."""
    told: list[str] = []

    def tell(text: str) -> None:
        if not told:
            [plan] = plan_pruning(source, ["orders"], Policy(last=1))
            prune(source, plan)
        told.append(text)

    result = run_copy(CopyOptions(source=source.describe(), target=str(tmp_path / "t")), tell=tell)
    assert result.ok
    assert sum("was removed meanwhile" in text for text in told) == 3
    assert states(open_place(str(tmp_path / "t"))) == states(source)
    assert len(open_place(str(tmp_path / "t")).folders("databases/orders")) == 1


def test_pipes_are_places(source: Place, tmp_path: Path) -> None:
    """Out, and into another one; encrypted on its way."""
    public, key = new_key(tmp_path)
    cipher = open_cipher(identity_file=str(key))
    for name, options in (("plain", {}), ("sealed", {"recipients": (public,)})):
        stream = streamed_copy(source, **options)
        (tmp_path / name).write_bytes(stream)
        with (tmp_path / name).open("rb") as file, pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdin", file)
            run_copy(CopyOptions(source="-", target=str(tmp_path / f"{name}-place")))
        place = open_place(str(tmp_path / f"{name}-place"))
        assert states(place, cipher if options else PLAIN) == states(source)
        assert check(place, ["orders", "users"], cipher).ok
    assert contents(open_place(str(tmp_path / "plain-place"))) == contents(source)


def streamed_copy(source: Place, **options: Any) -> bytes:
    """The stream of a copy."""
    raw = io.BytesIO()
    with contextlib.redirect_stdout(io.TextIOWrapper(raw)) as out:
        copy(source, "-", **options)
    out.detach()
    return raw.getvalue()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["SOURCE"], "Two places are wanted, and there is 1"),
        (["SOURCE", "a", "b"], "there are 3"),
        (["SOURCE", "SOURCE"], "is the source too"),
        (["SOURCE/../source/", "SOURCE"], "is the source too"),
        (["NONE", "a"], "There are no backups in"),
        (["SOURCE", "a", "--database", "none"], "has no database 'none'"),
        (["SOURCE", "http://host:5984"], "not a place for backups"),
        (["SOURCE", "a", "--recipient", "x"], "not a public key"),
        (["SOURCE", "a", "--at", "x"], "is not a time"),
    ],
)
def test_bad_input(words: list[str], says: str, source: Place, tmp_path: Path) -> None:
    """Exit code 2, and nothing is made."""
    here = [word.replace("SOURCE", source.describe()).replace("NONE", str(tmp_path / "none")) for word in words]
    here = [str(tmp_path / word) if word in {"a", "b"} else word for word in here]
    ran = run("backups", "copy", *here)
    assert (ran.code, says in ran.output) == (2, True), ran.output
    assert not any((tmp_path / name / "databases").exists() for name in ("a", "b", "none"))


def test_the_command(source: Place, tmp_path: Path) -> None:
    """As positions or as flags; a table, one line of JSON, nothing with --quiet."""
    target = str(tmp_path / "t")
    ran = run("backups", "copy", source.describe(), target)
    assert re.search(r"^users +1 +0 +2 +0 +\d+ +0$", ran.output, re.MULTILINE)
    ran = run("backups", "copy", "--from", source.describe(), "--to", target, "--json")
    assert ran.value["totals"]["snapshots_there"] == 5
    assert ran.output.count("\n") == 1
    assert run("backups", "copy", source.describe(), target, "-q").output == ""
