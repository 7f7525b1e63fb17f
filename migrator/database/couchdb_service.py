"""A service made from a server's URL, an account and a password."""

from __future__ import annotations

import os
from collections.abc import Mapping

from migrator.couch.client import CouchClient
from migrator.couch.locate import locate
from migrator.couch.places import redact
from migrator.database.couch import CouchDatabase
from migrator.errors import ConfigError


class CouchDBService(CouchDatabase):
    """A DatabaseService on the CouchDB server of a URL; before the first use nothing is asked but where
    the server of a URL with a path begins.

    Args:
        url: `http(s)://host:5984`, without a database.
        username: the account; it counts before one in the URL. When left out, it is the URL's, else that of
            COUCHDB_USER and COUCHDB_PASSWORD or of `~/.netrc`.
        password: its password, which is in no name, message or repr.

    Raises:
        ConfigError: the URL names no server, or a database.
    """

    def __init__(self, url: str, username: str | None = None, password: str | None = None) -> None:
        environ = dict(os.environ)
        url = str(url)
        if username:
            url = redact(url)
            environ |= {"COUCHDB_USER": str(username), "COUCHDB_PASSWORD": str(password or "")}
        super().__init__(_client_of(url, environ))

    @classmethod
    def of_settings(cls, url: str, username: str, password: str, environ: Mapping[str, str]) -> CouchDBService:
        """A service as settings have it: like the command, they take an account in the URL first.

        Args:
            url: the server.
            username: the account; "" for none.
            password: its password; "" for that of COUCHDB_PASSWORD_FILE.
            environ: certificates and the password's file are looked up here.

        Returns:
            The service; it has not asked the server anything but where it begins.

        Raises:
            ConfigError: the URL names no server, or a database.
        """
        known = {key: value for key, value in environ.items() if key not in {"COUCHDB_USER", "COUCHDB_PASSWORD"}}
        given = {"COUCHDB_USER": username, "COUCHDB_PASSWORD": password}
        service = cls.__new__(cls)
        CouchDatabase.__init__(service, _client_of(url, known | {k: v for k, v in given.items() if v}))
        return service


def _client_of(url: str, environ: Mapping[str, str]) -> CouchClient:
    endpoint, database = locate(url, environ=environ, server_only=True)
    if database is not None:
        raise ConfigError(
            f"The URL names the database {database}, but a service uses one for each collection.",
            hint=f"Set it to {endpoint.url}; where the server itself is below that path, write a slash after it.",
        )
    return CouchClient(endpoint)
