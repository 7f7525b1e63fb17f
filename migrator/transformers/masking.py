"""Makes test data of real data: keyed pseudonyms that keep joins, hashes, fakes, and samples that fit together.

What a mask makes depends on the key and the value alone, so equal values are equal afterwards, in every field
and collection and on every run with the same key. Without the key nobody can try values out against a result.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, TypeAlias

from migrator.codec import canonical
from migrator.errors import ConfigError, TransformError
from migrator.model import Document, Transformer
from migrator.model.capabilities import Effect, with_effect
from migrator.naming import did_you_mean
from migrator.plugins import extra
from migrator.transformers.paths import MISSING, Path, effect_on, get, incomplete, parse_path, split

MIN_KEY_BYTES = 16
KEY_VARIABLE = "MIGRATOR_MASK_KEY"
KEY_HINT = f"Set {KEY_VARIABLE} or {KEY_VARIABLE}_FILE, for example with: openssl rand -hex 32"
FORMS = (
    "pseudonym:FIELD,..., hash:FIELD,..., drop:FIELD,... or fake.KIND:FIELD,..., as in fake.email:contact.email"
)
# A fake that happens to be the original is drawn again.
MAX_DRAWS = 50

_SAMPLE = re.compile(r"(?P<percent>[0-9]+(?:\.[0-9]+)?)%(?:,(?P<field>.+))?")
_FAKE = re.compile(r"fake\.(?P<method>[a-z][a-z0-9_]*)(?:@(?P<locale>[a-z]{2,3}_[A-Z]{2}))?")
_DROPPED: Any = object()
_Mask: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True)
class Mask:
    """One mask: its kind as written, the fields, and the function that documents go through."""

    kind: str
    paths: tuple[Path, ...]
    transform: Transformer

    @property
    def fake(self) -> bool:
        """True where what is made looks real, so that it can be the original of another document."""
        return self.kind.startswith("fake.")


def mask_key(environ: Mapping[str, str] | None = None, file: str | None = None) -> bytes:
    """The key, from a file that is named, or from the environment.

    Raises:
        ConfigError: there is none, it cannot be read, or it is too short to keep a secret.
    """
    environ = os.environ if environ is None else environ
    path = file or environ.get(f"{KEY_VARIABLE}_FILE")
    if path:
        try:
            key = FilePath(path).read_bytes().strip()
        except OSError as error:
            raise ConfigError(f"The key file {path} cannot be read: {error.strerror}.", hint=KEY_HINT) from error
    else:
        key = environ.get(KEY_VARIABLE, "").encode()
    if not key:
        raise ConfigError("A mask needs a key, and there is none.", hint=KEY_HINT)
    if len(key) < MIN_KEY_BYTES:
        raise ConfigError(f"The key has {len(key)} bytes; {MIN_KEY_BYTES} are the least.", hint=KEY_HINT)
    return key


def parse_mask(text: str, key: bytes) -> Mask:
    """Read `pseudonym:a,b`, `hash:a`, `drop:a` or `fake.email:a`.

    Raises:
        ConfigError: there is no such kind, or no field.
    """
    spec = f"mask:{text}"
    kind, colon, rest = text.partition(":")
    if not (colon and rest):
        raise ConfigError(f"{spec} is incomplete.", hint=f"Write {FORMS}.")
    paths = tuple(parse_path(part, spec) for part in split(rest, ","))
    make = _maker(kind, key, spec)

    def transform(document: Document) -> Document:
        for path in paths:
            document = _masked(document, path, make, f"{spec}: {'.'.join(path)}")
        return document

    return Mask(kind, paths, with_effect(transform, effect_on(paths)))


def mask(text: str, key: bytes) -> Transformer:
    """Replace the values of fields: by a pseudonym, a hash, something invented, or not at all.

    Args:
        text: `pseudonym:a,b`, `hash:a`, `drop:a` or `fake.email:a`, with dotted paths.
        key: the secret that decides what comes of a value, at least 16 bytes; equal keys give equal values.

    Returns:
        The transformer; it raises TransformError for a value that cannot be masked.

    Raises:
        ConfigError: there is no such kind, or no field.
    """
    return parse_mask(text, key).transform


def read_mask(argument: str) -> Transformer:
    """The transformer of `mask:ARGUMENT`, with the key in the environment."""
    kind, colon, _ = argument.partition(":")
    if not colon:
        raise incomplete(f"mask:{argument}", f"mask:{FORMS}")
    # What is left out needs no key.
    return mask(argument, b"" if kind == "drop" else mask_key())


def sample(text: str) -> Transformer:
    """Keep a share of the documents, always the same ones: `5%`, or `5%,customer` by the value of a field.

    A document without that field goes by its _id; so `5%,customer` keeps a customer and just its orders.

    Args:
        text: the share, and the field after a comma.

    Returns:
        The transformer; it gives the document itself, or None.

    Raises:
        ConfigError: it is not a percentage.
    """
    match = _SAMPLE.fullmatch(text)
    if match is None or not 0 < float(match["percent"]) <= 100:
        raise ConfigError(f"sample:{text} is not a share.", hint="Write 5% or 0.5%,customer_id.")
    bound = float(match["percent"]) / 100 * 2**64
    path = parse_path(match["field"], f"sample:{text}") if match["field"] else None

    def kept(value: Any) -> bool:
        return int.from_bytes(hashlib.sha256(canonical(value)).digest()[:8], "big") < bound

    def transform(document: Document) -> Document | None:
        value = get(document, path) if path else MISSING
        if value is MISSING or value is None:
            value = document.get("_id")
        values = value if isinstance(value, list) and value else [value]
        return document if any(kept(item) for item in values) else None

    return with_effect(transform, Effect(keeps_id=True))


def values_at(value: Any, path: Path) -> Iterator[Any]:
    """Every value that is not an object, array or null at a path or below it; arrays are gone through."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from values_at(item, path)
    elif path:
        if isinstance(value, Mapping) and path[0] in value:
            yield from values_at(value[path[0]], path[1:])
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from values_at(item, ())
    elif value is not None:
        yield value


def _masked(value: Any, path: Path, make: _Mask, where: str) -> Any:
    if path and isinstance(value, list | tuple):
        return [_masked(item, path, make, where) for item in value]
    if not path:
        try:
            return make(value)
        except TransformError as error:
            raise TransformError(f"{where}: {error.message}") from None
    name, *rest = path
    if not isinstance(value, Mapping) or name not in value:
        return value
    made = _masked(value[name], tuple(rest), make, where)
    if made is _DROPPED:
        return {key: item for key, item in value.items() if key != name}
    return {**value, name: made}


def _maker(kind: str, key: bytes, spec: str) -> _Mask:
    if kind == "drop":
        return lambda _value: _DROPPED
    if kind == "hash":
        return lambda value: None if value is None else _digest(key, b"hash", canonical(value)).hex()
    if kind == "pseudonym":
        return _each(lambda value: _pseudonym(key, value))
    match = _FAKE.fullmatch(kind)
    if match is None:
        raise ConfigError(f"{spec}: there is no mask {kind!r}.", hint=f"Write {FORMS}.")
    return _each(_Faking(match["method"], match["locale"], key, spec).fake)


def _each(make: _Mask) -> _Mask:
    """Apply a mask to each value within objects and arrays; null stays, as it tells nothing."""

    def apply(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, Mapping):
            return {name: apply(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [apply(item) for item in value]
        if isinstance(value, bool):
            raise TransformError("true and false cannot be masked, as there are only two; drop or hash the field.")
        return make(value)

    return apply


def _digest(key: bytes, purpose: bytes, value: bytes) -> bytes:
    return hmac.digest(key, purpose + b"\0" + value, "sha256")


def _text(value: Any) -> bytes:
    # 1 and 1.0 are one key in JSON's eyes, so they have one pseudonym.
    return canonical(int(value) if isinstance(value, float) and value.is_integer() else value)


def _pseudonym(key: bytes, value: Any) -> Any:
    digest = _digest(key, b"pseudonym", _text(value))
    if isinstance(value, int | float):
        # 53 bits are exact in every reader of JSON.
        number = int.from_bytes(digest[:8], "big") >> 11
        return float(number) if isinstance(value, float) and not value.is_integer() else number
    return "p" + base64.b32encode(digest[:15]).decode().lower()


class _Faking:
    """Draws from Faker, seeded by the value; one at a time, as a generator has one state."""

    def __init__(self, method: str, locale: str | None, key: bytes, spec: str) -> None:
        with extra("seed", what=spec):
            from faker import Faker  # an extra, and slow to import
        try:
            self._faker: Any = Faker(locale or "en_US")
        except AttributeError as error:
            raise ConfigError(f"{spec}: Faker knows no locale {locale}.", hint="Write one like de_DE.") from error
        found: Any = getattr(self._faker, method, None)
        if not self._usable(found):
            known = ["name", "email", "phone_number", "address", *dir(self._faker)]
            raise ConfigError(
                f"{spec}: Faker makes no text or number called {method!r}.",
                hint=did_you_mean(method, known, "fake.{}") or "Write fake.name, fake.email or fake.address.",
            )
        self._draw: Callable[[], Any] = found
        self._purpose = f"fake {method} {locale}".encode()
        self._key = key
        self._lock = threading.Lock()

    @staticmethod
    def _usable(found: Any) -> bool:
        try:
            return isinstance(found(), str | int | float)
        except Exception:  # noqa: BLE001 providers want arguments, or fail as they please: then it is none for us
            return False

    def fake(self, value: Any) -> Any:
        text = _text(value)
        for draw in range(MAX_DRAWS):
            seed = int.from_bytes(_digest(self._key, self._purpose, text + b"\0%d" % draw), "big")
            with self._lock:
                self._faker.seed_instance(seed)
                made = self._draw()
            if str(made).casefold() != str(value).casefold():
                return made
        raise TransformError("every fake is the value itself; use pseudonym.")
