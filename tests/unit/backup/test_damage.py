"""Whatever is done to a file of a backup, check names it and reading refuses it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from migrator.backup.catalog import Catalog
from migrator.backup.check import Checked, check
from migrator.backup.format.heads import head_name
from migrator.backup.format.manifest import COPY, FILE, Manifest, snapshot_time, without_sum
from migrator.backup.listing import listing
from migrator.backup.prune import Policy, plan_pruning
from migrator.backup.storage.base import open_place
from migrator.errors import ConfigError, DamagedBackup
from tests.support.backups import TINY, PlainAttachment, read, simple, write

LIST = head_name("orders").rpartition("/")[2]
MANIFESTS = {FILE, COPY, LIST}
PHOTO = PlainAttachment("photo.png", bytes(range(256)), "image/png")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A full snapshot and two that add to it, in as many files as can be."""
    folder = tmp_path_factory.mktemp("whole")
    place = open_place(str(folder))
    manifest = write(place, [simple(n, 1, *([PHOTO] if n == 5 else [])) for n in range(12)], **TINY)
    manifest = write(
        place, [simple(n, 2, *([PHOTO] if n == 5 else [])) for n in range(0, 12, 5)], manifest, **TINY
    )
    write(place, [simple(n, 3) for n in (3, 4)], manifest, **TINY)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def names(whole: Path) -> list[Path]:
    """All files, relative."""
    return sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())


def checked(folder: Path) -> Checked:
    """The result of check."""
    return check(open_place(str(folder)), ["orders"])


def newest(folder: Path) -> Manifest:
    """The newest snapshot, which reads of all others."""
    place = open_place(str(folder))
    manifest = Catalog(place).latest("orders")
    assert manifest is not None
    return manifest


def read_all(folder: Path) -> None:
    """Read the newest state with all attachments, and what its index names."""
    from migrator.backup.format.snapshot_reader import ChainIndex

    place = open_place(str(folder))
    manifest = newest(folder)
    with ChainIndex(place, Catalog(place).chain(manifest)) as index:
        assert 12 == len(list(index.entries()))
    read(place, manifest)


def test_what_is_whole_is_whole(folder: Path) -> None:
    """Nothing is found, and everything was looked at."""
    found = checked(folder)
    assert [] == found.problems
    assert (1, 3) == (found.databases, found.snapshots)
    assert (12 + 3 + 2, 2, 256) == (found.leaves, found.attachments, found.attachment_bytes)
    segments = [path for path in names(folder) if path.name not in MANIFESTS]
    assert len(segments) == found.files > 12
    assert sum((folder / path).stat().st_size for path in segments) == found.size_bytes
    read_all(folder)


def flip(path: Path, _: Path) -> None:
    """Turn one bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def truncate(path: Path, _: Path) -> None:
    """Cut the end off, as a full disk does."""
    path.write_bytes(path.read_bytes()[:-7])


def remove(path: Path, _: Path) -> None:
    """Take it away."""
    path.unlink()


def empty(path: Path, _: Path) -> None:
    """Leave the name."""
    path.write_bytes(b"")


def swap(path: Path, other: Path) -> None:
    """Exchange it with another of the same snapshot."""
    data = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(data)


@pytest.mark.parametrize("damage", [flip, truncate, remove, empty, swap], ids=lambda damage: damage.__name__)
def test_each_damage_to_each_file_is_found(
    damage: Callable[[Path, Path], None], whole: Path, tmp_path: Path
) -> None:
    """By check with the file's name, and by whoever reads; of a manifest there is a copy, which serves."""
    files = names(whole)
    for number, name in enumerate(files):
        folder = Path(shutil.copytree(whole, tmp_path / str(number)))
        others = [each for each in (*files[number + 1 :], *files[:number]) if each.name not in MANIFESTS]
        partner = next(each for each in others if (whole / each).read_bytes() != (whole / name).read_bytes())
        damage(folder / name, folder / partner)
        found = checked(folder)
        assert 3 == found.snapshots
        if damage is remove and name.name == COPY:
            # Backups of earlier versions have none.
            assert found.ok
            continue
        assert not found.ok, name
        assert any(str(name) in problem.what for problem in found.problems), (name, found.problems)
        if name.name in MANIFESTS and damage is not swap:
            read_all(folder)
            continue
        with pytest.raises(DamagedBackup):
            read_all(folder)


@pytest.mark.parametrize("damage", [flip, truncate, remove, empty], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("at", range(3))
def test_a_manifest_without_a_copy_is_missed(folder: Path, damage: Callable[[Path, Path], None], at: int) -> None:
    """Wherever in the chain: check and list name it, what stands on it is broken, and older ones can be read."""
    place = open_place(str(folder))
    catalog = Catalog(place)
    ids = catalog.ids("orders")
    for name in (FILE, COPY):
        damage(folder / "databases" / "orders" / ids[at] / name, folder)
    found = checked(folder)
    assert ids[at] in {problem.snapshot for problem in found.problems}
    rows = listing(catalog, ["orders"])
    assert [row.snapshot for row in rows] == ids
    assert [bool(row.problem) for row in rows] == [number >= at for number in range(3)]
    for number, manifest in enumerate(catalog.snapshots("orders")[:at]):
        assert manifest.snapshot == ids[number]
        assert len(read(place, manifest)) == 12
        assert catalog.at("orders", manifest.finished_at) == manifest
    hint = f"--at {ids[at - 1]}" if at else "backups list"
    with pytest.raises(DamagedBackup, match=f"{ids[at]}.*{hint}" if at == 2 else ids[at]):
        catalog.chain(newest(folder))
    with pytest.raises(DamagedBackup, match=hint):
        catalog.at("orders", snapshot_time(ids[at]))


def test_the_list_is_missed_and_no_hindrance(folder: Path) -> None:
    """Damaged or gone, check says so; everything else goes on, and the next snapshot makes it again."""
    path = folder / head_name("orders")
    whole = path.read_bytes()
    for damage in (flip, truncate, remove, empty):
        path.write_bytes(whole)
        damage(path, folder)
        assert [(problem.snapshot, LIST in problem.what) for problem in checked(folder).problems] == [("", True)]
        read_all(folder)
    write(open_place(str(folder)), [simple(1, 9)], newest(folder), **TINY)
    assert checked(folder).ok
    assert len(Catalog(open_place(str(folder))).head("orders")) == 4


def test_a_place_of_before_is_read_as_before(folder: Path) -> None:
    """It has neither lists nor copies: a snapshot without a manifest is none; the next one makes a list of all."""
    for path in (*folder.rglob(LIST), *folder.rglob(COPY)):
        path.unlink()
    place = open_place(str(folder))
    assert checked(folder).ok
    max(folder.rglob(FILE)).unlink()
    found = checked(folder)
    assert (found.ok, found.snapshots) == (True, 2)
    write(place, [simple(1, 9)], newest(folder), **TINY)
    assert len(Catalog(place).head("orders")) == 3
    min(folder.rglob(FILE)).unlink()
    assert not checked(folder).ok


def test_a_manifest_of_another_snapshot_is_found(folder: Path) -> None:
    """Two whole manifests that changed places are not manifests of theirs."""
    one, other = sorted(folder.rglob(FILE))[:2]
    swap(one, other)
    assert any("is the manifest of" in problem.what for problem in checked(folder).problems)


def test_a_parent_that_was_created_again_is_not_the_parent(folder: Path) -> None:
    """A child says of which bytes its parent's manifest is, so no other can take that place."""
    from migrator.backup.format.manifest import with_sum

    first = min(folder.rglob(FILE))
    value = without_sum(first.read_bytes(), "here")
    del value["sha256" if "sha256" in value else "source"]
    first.write_bytes(with_sum({**value, "source": "elsewhere"}))
    problems = checked(folder).problems
    assert any("it is another one than was written" in problem.what for problem in problems)
    read_all(folder)
    for path in (*folder.rglob(LIST), *folder.rglob(COPY)):
        path.unlink()
    problems = checked(folder).problems
    assert any("adds to another" in problem.what for problem in problems)
    with pytest.raises(DamagedBackup, match="adds to another"):
        read_all(folder)
    # What cannot be restored counts for no rule, nor does what adds to it.
    (plan,) = plan_pruning(open_place(str(folder)), ["orders"], Policy(last=1))
    assert [decision.manifest.snapshot for decision in plan.decisions if decision.kept] == [first.parent.name]
    assert "adds to another" in plan.damaged[min(plan.damaged)]


def test_names_do_not_lead_out_of_the_folder(folder: Path) -> None:
    """A manifest that names a file elsewhere is none, however well it is summed."""
    from migrator.backup.format.manifest import with_sum

    last = max(folder.rglob(FILE))
    value = without_sum(last.read_bytes(), "here")
    value["segments"][0]["name"] = "../../../secret"
    last.write_bytes(with_sum(value))
    assert any("it is not a manifest" in problem.what for problem in checked(folder).problems)


def test_a_newer_format_is_refused(folder: Path) -> None:
    """With the sentence that says so, not as damage."""
    from migrator.backup.format.manifest import with_sum

    last = max(folder.rglob(FILE))
    last.write_bytes(with_sum({**without_sum(last.read_bytes(), "here"), "version": 2}))
    with pytest.raises(ConfigError, match="newer migrator"):
        newest(folder)


def test_wrong_content_with_right_digests_is_found(tmp_path: Path) -> None:
    """Where whoever wrote the snapshot wrote nonsense: order, bodies, counts and bounds."""
    from migrator.backup.format.segments import SegmentWriter

    place = open_place(str(tmp_path))
    good = SegmentWriter.leaf

    def wrong(self: SegmentWriter, id: str, line: bytes, index: bytes, *, first: bool) -> bool:
        if id == "doc-00003":
            line = line.replace(b'"_id":"doc-00003"', b'"_id":"doc-00004"')
        if id == "doc-00005":
            line = line.replace(b'"n":5', b'"n":5,,')
        if id == "doc-00007":
            line, index = (text.replace(b'"id":"doc-00007"', b'"id":"doc-00001"') for text in (line, index))
        if id == "doc-00008":
            index = index.replace(b"doc-00008", b"doc-00009")
        return good(self, id, line, index, first=first)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SegmentWriter, "leaf", wrong)
        write(place, [simple(n) for n in range(10)])
    what = "\n".join(problem.what for problem in checked(tmp_path).problems)
    for sentence in (
        "doc-00003' in segment-000001.ndjson.zst has a body of another",
        "doc-00005' in segment-000001.ndjson.zst is not a document",
        "doc-00001' in segment-000001.ndjson.zst is not in the order",
        "doc-00008' in segment-000001.ndjson.zst is not what its index",
    ):
        assert sentence in what


def test_an_attachment_with_other_bytes_is_found(tmp_path: Path) -> None:
    """Though every file has its digest."""
    from migrator.backup.format import lines, snapshot_writer

    place = open_place(str(tmp_path))
    with pytest.MonkeyPatch.context() as patch:
        line = lines.piece_line
        patch.setattr(snapshot_writer, "piece_line", lambda name, at, data: line(name, at, data[::-1]))
        manifest = write(place, [simple(1, 1, PHOTO)])
    assert ["has other bytes than it had" in problem.what for problem in checked(tmp_path).problems] == [True]
    with pytest.raises(DamagedBackup, match=r"photo\.png.*other bytes"):
        read(place, manifest)
