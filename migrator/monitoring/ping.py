"""Addresses that are told how a run is: a check of a service such as healthchecks.io, and a web hook."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from migrator.couch.endpoint import Endpoint, redact
from migrator.errors import ConfigError, EndpointError, TransientError
from migrator.retry.retrier import Retrier, RetryPolicy

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 10.0
# Nobody's documents wait for a watchdog.
POLICY = RetryPolicy(max_attempts=3, first_wait_s=0.5, max_wait_s=2.0)
# Such services keep the beginning of what they are sent.
MAX_BODY_BYTES = 10_000


class Address:
    """One such address. Its URL is a secret, so errors name only the host.

    Args:
        url: `http(s)://host/…`.
        flag: how it was named, for errors.
        example: one of its kind.
    """

    def __init__(self, url: str, flag: str, example: str) -> None:
        try:
            parts = self._parts = urlsplit(redact(url))
            usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ConfigError(f"{flag} is not a URL.", hint=f"Write {example} as the service shows it.")
        root = f"{parts.scheme}://{parts.netloc}"
        # Those of the environment are for databases and go nowhere else.
        user, _, password = url.partition("://")[2].rpartition("@")[0].partition(":")
        from migrator.couch.transport import Transport  # most runs have none

        self._what = flag.lstrip("-")
        self._transport = Transport(
            Endpoint(
                root,
                unquote(user) if user else None,
                unquote(password),
                connect_timeout_s=CONNECT_TIMEOUT_S,
                read_timeout_s=READ_TIMEOUT_S,
                max_hold_s=0.0,
            ),
            max_connections=1,
        )

    def post(self, body: bytes, content_type: str, below: str = "") -> None:
        """Send something.

        Args:
            body: what is sent.
            content_type: what it is.
            below: what is put after the path of the URL.

        Raises:
            EndpointError: nobody heard it.
        """
        parts = self._parts._replace(path=self._parts.path.rstrip("/") + below if below else self._parts.path)
        url = parts._replace(fragment="").geturl()

        def attempt(_: int) -> None:
            status, _headers, _body = self._transport.request(
                "POST", url, body=body, headers={"Content-Type": content_type}
            )
            if not 200 <= status < 300:
                kind = TransientError if status >= 500 or status == 429 else EndpointError
                raise kind(f"{parts.netloc} answered {status}.")

        Retrier(POLICY).call(self._what, attempt)


class Ping(Address):
    """One check of such a service.

    Args:
        url: `http(s)://host/…`.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, "--ping", "https://hc-ping.com/…")

    def send(self, what: Literal["/start", "", "/fail"], text: str = "") -> None:
        """Tell it how the run is.

        Args:
            what: what is put after the path of the URL; nothing for a run that has ended well.
            text: what the service keeps with it.

        Raises:
            EndpointError: nobody heard it.
        """
        body = text.encode("utf-8", "replace")[:MAX_BODY_BYTES]
        self.post(body, "text/plain; charset=utf-8", what)


class Webhook(Address):
    """What takes a small JSON of each run that has ended.

    Args:
        url: `http(s)://host/…`.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, "--webhook", "https://hooks.slack.com/services/…")

    def send(self, value: Mapping[str, Any]) -> None:
        """Tell it how the run ended.

        Args:
            value: what is sent.

        Raises:
            EndpointError: nobody heard it.
        """
        self.post(json.dumps(value).encode(), "application/json")
