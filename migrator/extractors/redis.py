"""Reads Redis, Valkey and the like: the hashes and JSON documents whose keys match a pattern."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby, islice
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import redis
from redis import exceptions

from migrator.codec import InvalidDocument, decode_value
from migrator.config import JobConfig
from migrator.errors import ConfigError, TransientError, Unauthorized
from migrator.extractors.base import BaseExtractor, factory, foreign_position
from migrator.extractors.rows import Unreadable, row_fault, text_fault
from migrator.files.failures import temporary_folder
from migrator.files.sorting import ExternalSorter
from migrator.model import Position, Record
from migrator.naming import shown

KEYS_AT_ONCE = 200
SORT_MEMORY_BYTES = 16_000_000
_NO_UTF8 = "it is not UTF-8"
# What the server says of itself, whatever key was asked for.
_TROUBLE = ("LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "OOM", "MISCONF", "max number of clients")
_JSON_TYPES = (b"ReJSON-RL", b"json")


class RedisExtractor(BaseExtractor):
    """The documents of one database: hashes, strings that hold a JSON object, and values of the JSON type.

    SCAN gives keys in no order, some of them twice, and its cursor is worth nothing to another process. So the
    keys alone are sorted first, on disk and each once; a position is a key, and holds whatever becomes of the
    server. Keys are bytes, and need not be text.

    Args:
        url: `redis://host:6379/0`, `rediss://…` or `unix://…`; what is behind the question mark are collections
            with their patterns, `?users=user:*&orders=order:*`. Without any, all keys are the collection `keys`.
        collections: which to read, in this order; all where None.
        environ: REDIS_USER and REDIS_PASSWORD, where the URL has none.
        ca_file: PEM of the authority that signed the server's certificate.
        timeout_s: longest wait for an answer.
    """

    def __init__(
        self,
        url: str,
        *,
        collections: Sequence[str] | None = None,
        environ: Mapping[str, str] | None = None,
        ca_file: str | None = None,
        timeout_s: float = 90.0,
    ) -> None:
        base, _, query = url.partition("?")
        self._url = base
        self._patterns = dict(parse_qsl(query.replace("+", "%2B"))) or {"keys": "*"}
        self._environ = environ or {}
        self._ca_file = ca_file
        self._timeout_s = timeout_s
        self._wanted = collections
        super().collections()

    def describe(self) -> str:
        """The URL without credentials, and the patterns."""
        parts = urlsplit(self._url)
        place = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        return f"{place}?" + "&".join(f"{name}={pattern}" for name, pattern in self._patterns.items())

    def collections(self) -> Sequence[str]:
        """The names that the patterns were given.

        Raises:
            TransientError: the server does not answer.
            Unauthorized: it refused the credentials.
        """
        with self._translated():
            self._client.ping()
        return super().collections()

    def _available(self) -> Sequence[str]:
        return tuple(self._patterns)

    def count(self, collection: str) -> int | None:
        """Not known before the keys are read, but for all of them."""
        if self._patterns[collection] != "*":
            return None
        with self._translated():
            return int(self._client.dbsize())

    def identity(self, collection: str) -> str:
        """The pattern: keys hold as positions while it does."""
        return self._patterns[collection]

    def describe_position(self, collection: str, position: Position) -> str:  # noqa: ARG002
        """The key."""
        return f"key {_key(position)!r:.100}"

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """Yield a record for each key, in the order of its bytes; what expires meanwhile is not read.

        Raises:
            TransientError: the connection broke; reading can go on after the last record.
        """
        behind = None if after is None else _key(after).decode("latin-1")
        with (
            temporary_folder("migrator-keys-") as folder,
            ExternalSorter(Path(folder), max_memory_bytes=SORT_MEMORY_BYTES) as sorter,
            self._translated(),
        ):
            # Each byte as one character, so that the order is that of bytes and any key can be.
            for key in self._client.scan_iter(match=self._patterns[collection], count=1_000):
                sorter.add(key.decode("latin-1"), b"")
            sorter.finish()
            keys = (key.encode("latin-1") for key, _ in groupby(id for id, _ in sorter.sorted_items(behind)))
            while some := list(islice(keys, KEYS_AT_ONCE)):
                yield from self._records(some)

    @cached_property
    def _client(self) -> redis.Redis:
        given: dict[str, Any] = {"socket_timeout": self._timeout_s, "socket_connect_timeout": 10}
        if urlsplit(self._url).password is None and self._environ.get("REDIS_PASSWORD"):
            given |= {"username": self._environ.get("REDIS_USER"), "password": self._environ["REDIS_PASSWORD"]}
        if self._ca_file and self._url.startswith("rediss:"):
            given["ssl_ca_certs"] = self._ca_file
        try:
            return redis.Redis.from_url(self._url, **given)
        except ValueError as error:
            raise ConfigError(
                f"{self.describe()} is not the address of a Redis server: {error}.",
                hint="Write redis://host:6379/0.",
            ) from None

    def _records(self, keys: Sequence[bytes]) -> Iterator[Record]:
        asked = self._client.pipeline(transaction=False)
        for key in keys:
            asked.type(key)
        kinds = asked.execute()
        asked = self._client.pipeline(transaction=False)
        for key, kind in zip(keys, kinds, strict=True):
            if kind == b"hash":
                asked.hgetall(key)
            elif kind in _JSON_TYPES:
                asked.execute_command("JSON.GET", key)  # type: ignore[no-untyped-call]
            elif kind == b"string":
                asked.get(key)
            else:
                asked.exists(key)
        for key, kind, value in zip(keys, kinds, asked.execute(raise_on_error=False), strict=True):
            if isinstance(value, Exception) and str(value).startswith(_TROUBLE):
                # The server is at fault and not what it holds.
                raise TransientError(f"{self.describe()} does not answer: {value}.", hint="Is the server up?")
            if value is None or value == {} or (kind == b"none" and not value):
                # Gone since the keys were listed.
                continue
            yield _record(key, kind, value)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (exceptions.AuthenticationError, exceptions.NoPermissionError) as error:
            raise Unauthorized(
                f"{self.describe()} refused the credentials: {error}.",
                hint="Set REDIS_USER and REDIS_PASSWORD, or put them into the URL.",
            ) from None
        except (exceptions.ConnectionError, exceptions.TimeoutError) as error:
            raise TransientError(
                f"{self.describe()} does not answer: {error}.", hint="Is the server up?"
            ) from None
        except exceptions.RedisError as error:
            refused = "NOAUTH" in str(error) or "WRONGPASS" in str(error)
            kind = Unauthorized if refused else ConfigError
            raise kind(
                f"{self.describe()} cannot be read: {error}.", hint="Look at the URL and the user."
            ) from None


def _record(key: bytes, kind: bytes, value: Any) -> Record:
    position = _position(key)
    id = _text(key)
    if isinstance(id, bytes):
        kept = _shown_fields(value) if isinstance(value, dict) else value if isinstance(value, bytes) else None
        return Record(position, fault=row_fault(f"the key {key!r:.100}", "invalid_utf8", _NO_UTF8, document=kept))
    place = f"the key {shown(id)}"
    if isinstance(value, Exception):
        return Record(position, fault=row_fault(place, "unreadable", value, id=id))
    if kind == b"hash":
        try:
            fields = {name.decode(): _text(field) for name, field in value.items()}
        except UnicodeDecodeError:
            bad = next(name for name in value if isinstance(_text(name), bytes))
            reason = f"the field's name {bad!r:.100} is not UTF-8"
            fields = {"_id": id, **_shown_fields(value)}
            fault = row_fault(place, "invalid_utf8", reason, id=id, document=fields)
            return Record(position, fault=fault)
        return Record(position, {"_id": id, **fields})
    if kind != b"string" and kind not in _JSON_TYPES:
        named = kind.decode("ascii", "replace")
        reason = f"holds a {named}; hashes, JSON texts and JSON values are documents"
        return Record(position, fault=row_fault(place, "not_a_document", reason, id=id))
    try:
        found = decode_value(value)
    except InvalidDocument as invalid:
        return Record(position, fault=text_fault(invalid, value, place, id=id))
    if not isinstance(found, dict):
        fault = row_fault(place, "not_an_object", "holds JSON that is not an object", id=id, document=found)
        return Record(position, fault=fault)
    return Record(position, found if isinstance(found.get("_id"), str) else {**found, "_id": id})


def _shown_fields(fields: Mapping[bytes, bytes]) -> dict[str, Any]:
    """A hash for people, where a name is not text; what stands after such a name is not to be written so."""
    return {
        name.decode("utf-8", "backslashreplace"): _text(field)
        if isinstance(_text(name), str)
        else Unreadable("invalid_utf8", _NO_UTF8, _text(field))
        for name, field in fields.items()
    }


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _position(key: bytes) -> str:
    text = _text(key)
    return f"key:{text}" if isinstance(text, str) else f"hex:{key.hex()}"


def _key(position: Position) -> bytes:
    kind, _, text = str(position).partition(":")
    with contextlib.suppress(ValueError):
        if kind == "key":
            return text.encode()
        if kind == "hex":
            return bytes.fromhex(text)
    raise foreign_position(position, "no key of Redis")


def _given(config: JobConfig, environ: Mapping[str, str]) -> dict[str, Any]:
    return {"environ": environ, "ca_file": config.ca_file or None, "timeout_s": config.timeout_s}


open_source = factory(RedisExtractor, more=_given)
