"""Encryption: what only the key opens, what stays readable without it, and what is said of wrong keys."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pyrage
import pytest

from migrator.backup.catalog import Catalog
from migrator.backup.check import check
from migrator.backup.format.cipher import PLAIN, Age, open_cipher
from migrator.backup.format.snapshot_reader import ChainIndex
from migrator.backup.format.snapshot_writer import SnapshotWriter
from migrator.backup.storage.base import Place, open_place
from migrator.errors import ConfigError
from tests.support.backups import FACTS, TINY, PlainAttachment, begin, files, leaf, read, revs, simple, write
from tests.support.processes import LIMIT_S

PHOTO = PlainAttachment("photo.png", b"not for everyone's eyes" * 9)


def new_key(folder: Path, name: str = "key.txt") -> tuple[str, Path]:
    """A public key, and the file with the secret one as age-keygen writes it."""
    identity = pyrage.x25519.Identity.generate()
    path = folder / name
    path.write_text(f"# created: now\n# public key: {identity.to_public()}\n{identity}\n")
    return str(identity.to_public()), path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A folder."""
    return open_place(str(tmp_path / "backups"))


def test_only_the_key_opens_it(place: Place, tmp_path: Path) -> None:
    """A chain is made with the public key alone, and read with either of two secret ones."""
    (one, one_file), (other, other_file) = new_key(tmp_path), new_key(tmp_path, "other.txt")
    writing = open_cipher([one, other])
    full = write(place, [simple(n, 1, PHOTO) for n in range(6)], cipher=writing, **TINY)
    latest = write(place, [simple(2, 2)], Catalog(place, writing).latest("orders"), writing)
    expected = [simple(2, 2) if n == 2 else simple(n, 1, PHOTO) for n in range(6)]
    for file in (one_file, other_file):
        reading = open_cipher([], str(file))
        loaded = Catalog(place, reading).latest("orders")
        assert loaded is not None
        assert FACTS == loaded.facts
        assert expected == read(place, loaded, reading)
        assert expected[3:] == read(place, loaded, reading, after="doc-00002")
        checked = check(place, ["orders"], reading)
        assert (True, 7, 0) == (checked.ok, checked.leaves, checked.sealed)
        with ChainIndex(place, Catalog(place, reading).chain(loaded), reading) as index:
            assert {simple(2, 2).rev} == revs(index, "doc-00002")
    assert (full.snapshot, full.digest) == (latest.parent, latest.parent_digest)


def test_without_it_nothing_is_readable(place: Place, tmp_path: Path) -> None:
    """No file holds a document's id or text, or a user's role; what is listed is listed, digests are compared."""
    public, _ = new_key(tmp_path)
    cipher = open_cipher([public])
    writer = begin(place, cipher=cipher, **TINY)
    for n in range(6):
        writer.add(leaf(simple(n, 1, PHOTO)))
    writer.save()
    everything = b"".join(path.read_bytes() for path in (tmp_path / "backups").rglob("*") if path.is_file())
    manifest = writer.finish()
    everything += b"".join(path.read_bytes() for path in (tmp_path / "backups").rglob("*") if path.is_file())
    for secret in (b"doc-0000", b"boss", b"photo.png", b"eyes"):
        assert secret not in everything
    assert all(path.name.endswith(".zst.age") for path in files(tmp_path / "backups"))
    listed = Catalog(place).latest("orders")
    assert listed is not None
    assert (manifest.counts, manifest.digest) == (listed.counts, listed.digest)
    assert ({}, "") == (listed.facts.security, listed.segments[0].first_id)
    checked = check(place, ["orders"])
    assert (True, 1) == (checked.ok, checked.sealed)
    damaged = next(files(tmp_path / "backups"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert not check(place, ["orders"]).ok


def test_keys_that_do_not_fit_are_named(place: Place, tmp_path: Path) -> None:
    """No key, another's key, a public one in place of the secret one, a file that is none."""
    public, _ = new_key(tmp_path)
    manifest = write(place, [simple(1)], cipher=open_cipher([public]))
    with pytest.raises(ConfigError, match=r"is encrypted.*--identity FILE"):
        read(place, manifest)
    with pytest.raises(ConfigError, match=r"is encrypted.*--identity FILE"):
        read(place, manifest, open_cipher([public]))
    _, wrong = new_key(tmp_path, "wrong.txt")
    with pytest.raises(ConfigError, match=r"cannot be decrypted with the key in .*wrong\.txt"):
        read(place, manifest, open_cipher([], str(wrong)))
    nothing = tmp_path / "nothing.txt"
    nothing.write_text(f"{public}\n")
    with pytest.raises(ConfigError, match="holds no secret key"):
        open_cipher([], str(nothing))
    with pytest.raises(ConfigError, match="cannot be read"):
        open_cipher([], str(tmp_path / "gone.txt"))
    with pytest.raises(ConfigError, match="not a public key"):
        open_cipher(["age1nonsense"])


def test_a_secret_key_is_never_repeated(tmp_path: Path) -> None:
    """Given where a public one belongs, or spoilt in its file, it is in no error."""
    secret = str(pyrage.x25519.Identity.generate())
    with pytest.raises(ConfigError, match="A secret key was given") as caught:
        open_cipher([secret])
    assert secret not in str(caught.value)
    spoilt = tmp_path / "spoilt.txt"
    spoilt.write_text(secret[:-1] + "\n")
    with pytest.raises(ConfigError) as caught:
        open_cipher([], str(spoilt))
    assert secret[:20] not in str(caught.value)


def test_a_key_file_alone_encrypts_to_itself(place: Place, tmp_path: Path) -> None:
    """So that nobody who names one gets a backup that everyone can read."""
    _, file = new_key(tmp_path)
    cipher = open_cipher([], str(file))
    manifest = write(place, [simple(1)], cipher=cipher)
    assert "age" == manifest.encryption
    assert [simple(1)] == read(place, manifest, cipher)


def test_encryption_may_begin_within_a_chain(place: Place, tmp_path: Path) -> None:
    """Each snapshot is read by what its own manifest says."""
    _, file = new_key(tmp_path)
    cipher = open_cipher([], str(file))
    full = write(place, [simple(1, 1, PHOTO), simple(2)])
    latest = write(place, [simple(1, 2, PHOTO)], full, cipher)
    assert 0 == latest.counts.attachment_bytes
    assert [simple(1, 2, PHOTO), simple(2)] == read(place, latest, cipher)


def test_encryption_may_end_within_a_chain(place: Place, tmp_path: Path) -> None:
    """Who writes plainly now can point to nothing that is sealed, so the attachment is stored again."""
    _, file = new_key(tmp_path)
    cipher = open_cipher([], str(file))
    full = write(place, [simple(1, 1, PHOTO), simple(2)], cipher=cipher)
    latest = write(place, [simple(1, 2, PHOTO)], full)
    assert len(PHOTO.data) == latest.counts.attachment_bytes
    assert [simple(1, 2, PHOTO), simple(2)] == read(place, latest, cipher)


def test_an_encrypted_run_is_gone_on_with_by_who_has_the_key(place: Place, tmp_path: Path) -> None:
    """The position is an id, and sealed; who cannot read it starts over."""
    public, file = new_key(tmp_path)
    writer = begin(place, cipher=open_cipher([public]), **TINY)
    for n in range(5):
        writer.add(leaf(simple(n)))
    writer.save()
    assert SnapshotWriter.resume(place, "orders", parent=None, facts=FACTS, cipher=open_cipher([public])) is None
    cipher = open_cipher([public], str(file))
    again = SnapshotWriter.resume(place, "orders", parent=None, facts=FACTS, cipher=cipher)
    assert again is not None
    assert "doc-00004" == again.position
    again.add(leaf(simple(5)))
    assert [simple(n) for n in range(6)] == read(place, again.finish(), cipher)


def test_nonsense_is_no_key_of_ssh() -> None:
    """It is refused."""
    with pytest.raises(ConfigError, match="not a public key"):
        open_cipher(["ssh-ed25519 nonsense"])


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="this machine has no ssh-keygen")
def test_keys_of_ssh_serve_too(place: Place, tmp_path: Path) -> None:
    """Where a machine has one already."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "id")], check=True, timeout=LIMIT_S
    )
    public = " ".join((tmp_path / "id.pub").read_text().split()[:2])
    manifest = write(place, [simple(1)], cipher=open_cipher([public]))
    assert [simple(1)] == read(place, manifest, open_cipher([], str(tmp_path / "id")))


def test_no_key_is_no_encryption(monkeypatch: pytest.MonkeyPatch) -> None:
    """And needs no package; with a key, the package is asked for by its extra."""
    monkeypatch.setitem(sys.modules, "pyrage", None)
    assert open_cipher() is PLAIN
    with pytest.raises(ConfigError, match=r'pip install "couchdb-migrator\[encrypt\]"'):
        Age(["age1x"])
