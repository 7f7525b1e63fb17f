"""A check of a service such as healthchecks.io, which is told how a run is."""

from __future__ import annotations

from typing import Literal
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


class Ping:
    """One check of such a service. Its URL is a secret, so errors name only the host.

    Args:
        url: `http(s)://host/…`.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = self._parts = urlsplit(redact(url))
            usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ConfigError("--ping is not a URL.", hint="Write https://hc-ping.com/… as the service shows it.")
        root = f"{parts.scheme}://{parts.netloc}"
        # Those of the environment are for databases and go nowhere else.
        user, _, password = url.partition("://")[2].rpartition("@")[0].partition(":")
        from migrator.couch.transport import Transport  # most runs have no ping

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

    def send(self, what: Literal["/start", "", "/fail"], text: str = "") -> None:
        """Tell it how the run is.

        Args:
            what: what is put after the path of the URL; nothing for a run that has ended well.
            text: what the service keeps with it.

        Raises:
            EndpointError: nobody heard it.
        """
        body = text.encode("utf-8", "replace")[:MAX_BODY_BYTES]
        parts = self._parts._replace(path=self._parts.path.rstrip("/") + what, fragment="")

        def attempt(_: int) -> None:
            status, _headers, _body = self._transport.request(
                "POST", parts.geturl(), body=body, headers={"Content-Type": "text/plain; charset=utf-8"}
            )
            if not 200 <= status < 300:
                kind = TransientError if status >= 500 or status == 429 else EndpointError
                raise kind(f"{parts.netloc} answered {status}.")

        Retrier(POLICY).call("ping", attempt)
