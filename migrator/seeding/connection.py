"""The server that a job's flags name."""

from __future__ import annotations

from collections.abc import Mapping

from migrator.config import JobConfig
from migrator.couch.endpoint import Endpoint, TlsFiles, is_server_url, parse_endpoint, redact
from migrator.errors import ConfigError


def server_of(
    config: JobConfig, url: str, *, role: str, environ: Mapping[str, str]
) -> tuple[Endpoint, str | None]:
    """The endpoint and the database that a URL names, with the connection flags of a job.

    Raises:
        ConfigError: it is no server's URL.
    """
    if not is_server_url(url):
        raise ConfigError(f"{redact(url)} is no server's URL.", hint="Write http://host:5984.")
    tls = TlsFiles(config.ca_file or None, config.client_cert or None, config.client_key or None)
    return parse_endpoint(url, environ=environ, role=role, tls=tls, read_timeout_s=config.timeout_s)
