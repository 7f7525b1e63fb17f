"""Which provider an application uses, from its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from migrator.couch.client import CouchClient
from migrator.couch.locating import locate
from migrator.database.couch import CouchDatabase
from migrator.database.memory import MemoryDatabase
from migrator.database.service import DatabaseService
from migrator.errors import ConfigError

PROVIDERS = ("memory", "couchdb")


@dataclass(frozen=True)
class Settings:
    """Settings of one service; the password is in no repr.

    `couchdb_user` and `couchdb_password` may be left out when the URL holds them.
    """

    database_provider: str = "memory"
    couchdb_url: str = field(default="http://localhost:5984", repr=False)
    couchdb_user: str = ""
    couchdb_password: str = field(default="", repr=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read DATABASE_PROVIDER, COUCHDB_URL, COUCHDB_USER and COUCHDB_PASSWORD, now and not at import."""
        environ = os.environ if environ is None else environ
        return cls(
            database_provider=environ.get("DATABASE_PROVIDER", cls.database_provider),
            couchdb_url=environ.get("COUCHDB_URL", "http://localhost:5984"),
            couchdb_user=environ.get("COUCHDB_USER", ""),
            couchdb_password=environ.get("COUCHDB_PASSWORD", ""),
        )


def get_database_service(settings: Settings | None = None) -> DatabaseService:
    """A new service for these settings; two calls give two services that share nothing.

    Args:
        settings: from the environment when left out.

    Raises:
        ConfigError: the provider or the URL is not known.
    """
    settings = settings or Settings.from_environment()
    provider = settings.database_provider.strip().lower()
    if provider == "memory":
        return MemoryDatabase()
    if provider == "couchdb":
        environ = {"COUCHDB_USER": settings.couchdb_user, "COUCHDB_PASSWORD": settings.couchdb_password}
        endpoint, database = locate(settings.couchdb_url, environ={k: v for k, v in environ.items() if v})
        if database is not None:
            raise ConfigError(
                f"COUCHDB_URL names the database {database}, but a service uses one for each collection.",
                hint=f"Set it to {endpoint.url}.",
            )
        return CouchDatabase(CouchClient(endpoint))
    raise ConfigError(
        f"DATABASE_PROVIDER is {settings.database_provider!r}.", hint=f"Known are: {', '.join(PROVIDERS)}."
    )
