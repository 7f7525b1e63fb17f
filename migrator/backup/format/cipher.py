"""Encryption of backups in the age format (age-encryption.org), by the `pyrage` package; or none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from migrator.errors import ConfigError
from migrator.plugins import extra


class Cipher:
    """Seals what is written, and opens what is read; this one leaves all as it is."""

    name = ""
    """What a manifest calls it: "age", or "" for none."""

    suffix = ""
    """What the names of sealed files end with."""

    @property
    def can_read(self) -> bool:
        """False where there is no secret key, so that what was sealed stays so."""
        return True

    def seal(self, data: bytes) -> bytes:
        """Encrypt."""
        return data

    def unseal(self, data: bytes, what: str) -> bytes:  # noqa: ARG002 for those that encrypt
        """Decrypt.

        Args:
            data: what `seal` gave.
            what: what it is, for people.

        Raises:
            ConfigError: there is no key, or a wrong one.
        """
        return data


PLAIN = Cipher()


class Age(Cipher):
    """The age format.

    Args:
        recipients: public keys, `age1…` or `ssh-ed25519 …`, each of which can be read with alone; without any,
            those of the identities.
        identity_file: the file with the secret keys, as `age-keygen` writes it.

    Raises:
        ConfigError: a key is none, the file cannot be read, or the package is not installed.
    """

    name = "age"
    suffix = ".age"

    def __init__(self, recipients: Sequence[str] = (), identity_file: str | None = None) -> None:
        self._pyrage = _pyrage()
        self._file = identity_file
        self._identities = self._read_identities(identity_file) if identity_file else []
        self._recipients = [self._recipient(text) for text in recipients]
        if not recipients:
            self._recipients = [
                each.to_public() for each in self._identities if isinstance(each, self._pyrage.x25519.Identity)
            ]

    @property
    def can_read(self) -> bool:
        """True when there is a secret key."""
        return bool(self._identities)

    def seal(self, data: bytes) -> bytes:
        """Encrypt to all recipients."""
        if not self._recipients:
            raise ConfigError(
                "There is nobody to encrypt backups to.",
                hint="Name the public key: --recipient age1… (age-keygen prints it).",
            )
        sealed: bytes = self._pyrage.encrypt(data, self._recipients)
        return sealed

    def unseal(self, data: bytes, what: str) -> bytes:
        """Decrypt with whichever key fits."""
        if not self._identities:
            raise key_wanted(what)
        try:
            opened: bytes = self._pyrage.decrypt(data, self._identities)
        except self._pyrage.DecryptError as error:
            raise ConfigError(
                f"{what} cannot be decrypted with the key in {self._file}: {str(error).rstrip('.')}.",
                hint="Name the file with the key that it was encrypted to: --identity FILE.",
            ) from None
        return opened

    def _recipient(self, text: str) -> Any:
        text = text.strip()
        kind = self._pyrage.ssh if text.startswith("ssh-") else self._pyrage.x25519
        if text.upper().startswith("AGE-SECRET-KEY-"):
            raise ConfigError(
                "A secret key was given where backups are encrypted to a public one.",
                hint="Give the line that begins with age1, and make a new pair: this one has been shown.",
            )
        try:
            return kind.Recipient.from_str(text)
        except self._pyrage.RecipientError:
            raise ConfigError(
                f"{text!r} is not a public key of age.", hint="It begins with age1; age-keygen prints it."
            ) from None

    def _read_identities(self, file: str) -> list[Any]:
        try:
            text = Path(file).read_bytes()
        except OSError as error:
            raise ConfigError(
                f"The key file {file} cannot be read: {error.strerror}.", hint="Name it with --identity FILE."
            ) from None
        try:
            if text.startswith(b"-----BEGIN"):
                return [self._pyrage.ssh.Identity.from_buffer(text)]
            lines = (line.strip() for line in text.decode("ascii", "replace").splitlines())
            found = [self._pyrage.x25519.Identity.from_str(line) for line in lines if line and line[0] != "#"]
        except self._pyrage.IdentityError:
            # The package's own message could quote the key.
            found = []
        if not found:
            raise ConfigError(
                f"{file} holds no secret key of age.", hint="Make one: age-keygen -o FILE (keep it safe)."
            )
        return found


def open_cipher(recipients: Sequence[str] = (), identity_file: str | None = None) -> Cipher:
    """The cipher that keys make: none without any.

    Raises:
        ConfigError: as for Age.
    """
    if not recipients and not identity_file:
        return PLAIN
    return Age(recipients, identity_file)


def opens(cipher: Cipher, encryption: str) -> bool:
    """True when a cipher can read what a manifest says is encrypted so."""
    return not encryption or (cipher.name == encryption and cipher.can_read)


def fitting(cipher: Cipher, encryption: str, what: str) -> Cipher:
    """The cipher to read a snapshot with, by what its manifest says of it.

    Raises:
        ConfigError: it is encrypted, and there is no key.
    """
    if not encryption:
        return PLAIN
    if encryption != Age.name:
        raise ConfigError(f"{what} is encrypted by {encryption!r}.", hint="Use the migrator that wrote it.")
    if not opens(cipher, encryption):
        raise key_wanted(what)
    return cipher


def key_wanted(what: str) -> ConfigError:
    """Say that a key is missing."""
    return ConfigError(f"{what} is encrypted.", hint="Name the file with the secret key: --identity FILE.")


def _pyrage() -> Any:
    with extra("encrypt", what="An encrypted backup"):
        import pyrage  # an extra
    return pyrage
