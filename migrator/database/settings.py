"""Which provider an application uses: from arguments, its environment, or a settings object of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from operator import attrgetter
from pathlib import Path
from typing import Any

from migrator.couch.places import redact
from migrator.database.couch import CouchDBService
from migrator.database.memory import MemoryDBService
from migrator.database.service import DatabaseService
from migrator.errors import ConfigError

PROVIDERS = ("memory", "couchdb")
ENV_FILE = ".env"
_DEFAULTS = {
    "DATABASE_PROVIDER": "memory",
    "COUCHDB_URL": "http://localhost:5984",
    "COUCHDB_USER": "",
    "COUCHDB_PASSWORD": "",
}
_LINE = re.compile(r"\s*(?:export\s+)?(\w+)\s*=\s*(.*)", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, init=False)
class Settings:
    """Settings of one service, under the names of the environment's variables or in lower case.

    What is not given is taken from the environment, then from a file `.env` in the working folder, then it is
    `memory`, `http://localhost:5984` and no account. The password is in no repr.

    >>> Settings(DATABASE_PROVIDER="couchdb", COUCHDB_URL="http://localhost:5984", COUCHDB_USER="admin",
    ...          COUCHDB_PASSWORD="password")
    Settings(DATABASE_PROVIDER='couchdb', COUCHDB_URL='http://localhost:5984', COUCHDB_USER='admin')

    Args:
        database_provider: `memory` or `couchdb`.
        couchdb_url: the server, with an account in it or without.
        couchdb_user: the account, unless the URL holds one.
        couchdb_password: its password.
        DATABASE_PROVIDER: as `database_provider`.
        COUCHDB_URL: as `couchdb_url`.
        COUCHDB_USER: as `couchdb_user`.
        COUCHDB_PASSWORD: as `couchdb_password`.

    Raises:
        TypeError: a setting is given under both of its names.
        ConfigError: the file `.env` cannot be read.
    """

    database_provider: str
    couchdb_url: str
    couchdb_user: str
    couchdb_password: str = field(repr=False)

    def __init__(
        self,
        database_provider: str | None = None,
        couchdb_url: str | None = None,
        couchdb_user: str | None = None,
        couchdb_password: str | None = None,
        *,
        DATABASE_PROVIDER: str | None = None,  # noqa: N803 the names of the environment
        COUCHDB_URL: str | None = None,  # noqa: N803
        COUCHDB_USER: str | None = None,  # noqa: N803
        COUCHDB_PASSWORD: str | None = None,  # noqa: N803
    ) -> None:
        given = {
            "DATABASE_PROVIDER": (database_provider, DATABASE_PROVIDER),
            "COUCHDB_URL": (couchdb_url, COUCHDB_URL),
            "COUCHDB_USER": (couchdb_user, COUCHDB_USER),
            "COUCHDB_PASSWORD": (couchdb_password, COUCHDB_PASSWORD),
        }
        if twice := [name for name, pair in given.items() if None not in pair]:
            raise TypeError(f"{twice[0]} is given twice, once in lower case")
        values = {name: one if one is not None else other for name, (one, other) in given.items()}
        if None in values.values():
            environ = _environment()
            values = {
                name: environ.get(name, _DEFAULTS[name]) if value is None else value
                for name, value in values.items()
            }
        for name, value in values.items():
            # Frozen for everybody else.
            object.__setattr__(self, name.lower(), value)

    def __repr__(self) -> str:
        return (
            f"Settings(DATABASE_PROVIDER={self.database_provider!r}, COUCHDB_URL={redact(self.couchdb_url)!r}, "
            f"COUCHDB_USER={self.couchdb_user!r})"
        )

    DATABASE_PROVIDER = property(attrgetter("database_provider"), doc="As `database_provider`.")
    COUCHDB_URL = property(attrgetter("couchdb_url"), doc="As `couchdb_url`.")
    COUCHDB_USER = property(attrgetter("couchdb_user"), doc="As `couchdb_user`.")
    COUCHDB_PASSWORD = property(attrgetter("couchdb_password"), doc="As `couchdb_password`.")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read DATABASE_PROVIDER, COUCHDB_URL, COUCHDB_USER and COUCHDB_PASSWORD, now and not at import.

        Args:
            environ: the environment and the file `.env` when left out; else these variables alone.

        Returns:
            The settings, with the defaults for what is not set.

        Raises:
            ConfigError: the file `.env` cannot be read.
        """
        environ = _environment() if environ is None else environ
        return cls(*(environ.get(name, default) for name, default in _DEFAULTS.items()))


def get_database_service(settings: Any = None) -> DatabaseService:
    """A new service for these settings; two calls give two services that share nothing.

    Args:
        settings: a Settings, or any object or mapping that has DATABASE_PROVIDER, COUCHDB_URL, COUCHDB_USER and
            COUCHDB_PASSWORD (also in lower case); from the environment when left out.

    Returns:
        A memory service that is empty, or one on a CouchDB server.

    Raises:
        ConfigError: the provider or the URL is not known, or there is no DATABASE_PROVIDER in it.
    """
    if settings is None:
        settings = Settings.from_environment()
    elif not isinstance(settings, Settings):
        settings = _settings_of(settings)
    provider = settings.database_provider.strip().lower()
    if provider == "memory":
        return MemoryDBService()
    if provider == "couchdb":
        return CouchDBService.of_settings(
            settings.couchdb_url, settings.couchdb_user, settings.couchdb_password, os.environ
        )
    raise ConfigError(
        f"DATABASE_PROVIDER is {settings.database_provider!r}.", hint=f"Known are: {', '.join(PROVIDERS)}."
    )


def _environment() -> Mapping[str, str]:
    return {**read_env_file(Path(ENV_FILE), _DEFAULTS), **os.environ}


def _settings_of(found: Any) -> Settings:
    values = {name: value for name in _DEFAULTS if (value := _setting(found, name)) is not None}
    if "DATABASE_PROVIDER" not in values:
        raise ConfigError(
            f"The settings are of type {type(found).__name__} and have no DATABASE_PROVIDER.",
            hint="Give migrator.database.Settings, or an object with DATABASE_PROVIDER, COUCHDB_URL and so on.",
        )
    return Settings.from_environment(values)


def _setting(found: Any, name: str) -> str | None:
    for each in (name, name.lower()):
        value = found.get(each) if isinstance(found, Mapping) else getattr(found, each, None)
        # Settings libraries wrap secrets, so that they are not printed by accident.
        if callable(reveal := getattr(value, "get_secret_value", None)):
            value = reveal()
        if isinstance(value, Enum):
            value = value.value
        if value is not None:
            return str(value)
    return None


def read_env_file(path: Path, names: Collection[str]) -> dict[str, str]:
    r"""The variables of these names; all other lines are somebody else's and are not looked at.

    A value may stand in quotes; within double ones `\"`, `\\` and `\n` mean what they do in a shell. Nothing is
    filled in for `$NAME`, so that a password may have a dollar sign. The last line of a name counts.

    Args:
        path: the file; where there is none, nothing is found.
        names: the variables to look for.

    Raises:
        ConfigError: the file cannot be read, or a quote is not closed. No value is shown.
    """
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{path} cannot be read: {reason}.", hint="Check the file and its rights.") from None
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match and match[1] in names:
            value = _value(match[2].strip())
            if value is None:
                raise ConfigError(
                    f"{path}:{number}: the value of {match[1]} begins with a quote and does not end with it.",
                    hint="Close the quote; a quote within it is written with a backslash before it.",
                )
            found[match[1]] = value
    return found


def _value(text: str) -> str | None:
    if text[:1] == "'":
        value, closed, rest = text[1:].partition("'")
    elif text[:1] == '"':
        match = re.match(r'"((?:[^"\\]|\\.)*)(")?', text)
        assert match is not None  # a quote alone fits
        value, closed, rest = match[1], match[2] or "", text[match.end() :]
        value = _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[1]), value)
    else:
        return re.split(r"(?:^|\s)#", text)[0].strip()
    return value if closed and re.fullmatch(r"\s*(#.*)?", rest) else None
