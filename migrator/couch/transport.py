"""The `couchdb` package's session on urllib3: timeouts, reused connections, verified TLS, and no blind re-send.

The package's own session waits for ever, posts a body a second time after a reset, and knows no custom CA.
This one sends a request once, follows no redirect (so that credentials go to no other host), and turns
every failure of the network into one of two errors.
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Generator, Mapping
from copy import copy
from dataclasses import replace
from io import BytesIO
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
)
from urllib3.exceptions import SSLError as TlsError
from urllib3.util import Timeout

from migrator.couch.endpoint import Endpoint
from migrator.couch.pace import TooSlow, pool_classes
from migrator.couch.places import divide_credentials, redact
from migrator.errors import ConfigError, EndpointError, TransientError
from migrator.version import __version__

WAIT_HINT = "Check the address, or wait for the server with: migrator wait {url}"


class Transport:
    """One server's connections, shared by threads. Give it to `couchdb.Server(url, session=…)`.

    Args:
        endpoint: the server and its credentials.
        max_connections: how many connections are kept open; more are made when needed and closed after use.
    """

    def __init__(self, endpoint: Endpoint, *, max_connections: int = 8) -> None:
        self._endpoint = endpoint
        self._headers = {"User-Agent": f"migrator/{__version__}", "Accept": "application/json"}
        if endpoint.user is not None:
            # What the environment holds need not be UTF-8.
            pair = f"{endpoint.user}:{endpoint.password or ''}".encode(errors="surrogateescape")
            self._headers["Authorization"] = f"Basic {b64encode(pair).decode()}"
        options: dict[str, Any] = {}
        if endpoint.url.startswith("https:"):
            options["ssl_context"] = _tls_context(endpoint)
        self._pool: Any = _pool(endpoint, maxsize=max_connections, **options)

    def within(self, read_timeout_s: float | None) -> Transport:
        """The same connections for a question that waits no longer than this for its answer; None: as usual."""
        if read_timeout_s is None:
            return self
        brief = copy(self)
        shorter_s = min(read_timeout_s, self._endpoint.read_timeout_s)
        brief._endpoint = replace(self._endpoint, read_timeout_s=shorter_s)  # noqa: SLF001 its own
        return brief

    def request(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        credentials: Any = None,  # noqa: ARG002 the endpoint's own are used
        num_redirects: int = 0,  # noqa: ARG002 none is followed
    ) -> tuple[int, Mapping[str, str], BytesIO]:
        """Send one request once and read the whole answer, whatever its status.

        Raises:
            TransientError: no whole answer came; `outcome_unknown` says whether it may have been carried out.
            EndpointError: the server's certificate is not trusted.
        """
        timeout = _timeout(self._endpoint)
        response = self._urlopen(method, url, body, headers, of=method, timeout=timeout)
        return response.status, response.headers, BytesIO(response.data)

    def stream(
        self,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        chunk_bytes: int = 1 << 18,
    ) -> tuple[int, Mapping[str, str], Generator[bytes]]:
        """Read with the answer's body given piece by piece, so that its length needs no memory.

        Args:
            url: what is read.
            body: asks by POST with this body; without one the question is a GET.
            headers: more headers.
            chunk_bytes: the longest piece.

        Raises:
            TransientError: also from the iterator, when the body breaks off.
        """
        method = "GET" if body is None else "POST"
        # It asks and changes nothing, whatever it is sent by.
        response = self._urlopen(method, url, body, headers, of="GET", preload_content=False)
        return response.status, response.headers, self._pieces(response, chunk_bytes)

    def _urlopen(
        self, method: str, url: str, body: Any, headers: Mapping[str, str] | None, *, of: str, **options: Any
    ) -> Any:
        """Send once; an error is told as one of a request by the method `of`."""
        all_headers = {**self._headers, **(headers or {})}
        options |= {"body": body, "headers": all_headers, "redirect": False, "retries": False}
        try:
            response = self._pool.urlopen(method, self._address(url), **options)
        except (HTTPError, OSError) as error:
            raise self._translate(of, error) from error
        self._refuse_proxy(response.status)
        return response

    def _pieces(self, response: urllib3.BaseHTTPResponse, chunk_bytes: int) -> Generator[bytes]:
        whole = False
        try:
            while piece := response.read1(chunk_bytes):
                yield piece
            whole = True
        except (HTTPError, OSError) as error:
            raise self._translate("GET", error) from error
        finally:
            if whole:
                response.release_conn()
            else:
                # Half an answer is still on its way: this connection serves nobody any more.
                response.close()

    def close(self) -> None:
        """Close the idle connections."""
        (self._pool.clear if self._endpoint.proxy else self._pool.close)()

    def _address(self, url: str) -> str:
        """What the pool is asked for: the path alone, as it knows the host; a proxy must be told the host too."""
        url = url if len(url) > len(self._endpoint.url) else f"{self._endpoint.url}/"
        return url if self._endpoint.proxy else "/" + url.split("/", 3)[3]

    def _translate(self, method: str, error: Exception) -> EndpointError:
        url = self._endpoint.url

        def failed(message: str, signature: str, hint: str = WAIT_HINT, **more: bool) -> TransientError:
            return TransientError(message, hint=hint.format(url=url), signature=signature, **more)

        if isinstance(error, ProxyError):
            return self._of_proxy(error)
        if isinstance(error, NameResolutionError):
            return failed(f"{url}: the host's name is not known.", "name")
        if isinstance(error, NewConnectionError):
            cause = error.__cause__ or error.__context__
            return failed(f"{url}: {getattr(cause, 'strerror', None) or 'connection failed'}.", "connect")
        if isinstance(error, ConnectTimeoutError):
            timeout_s = self._endpoint.connect_timeout_s
            return failed(f"{url}: no connection within {timeout_s:g} s.", "connect timeout")
        if isinstance(error, TlsError):
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                return EndpointError(
                    f"{url}: the server's certificate is not trusted ({_tls_reason(error)}).",
                    hint="Name the authority that signed it with --ca-file FILE.",
                )
            return failed(f"{url}: TLS failed ({_tls_reason(error)}).", "tls", outcome_unknown=True)
        if isinstance(error, ReadTimeoutError) and "handshake" in f"{error.__cause__} {error.__context__}":
            hint = "Check that the port speaks https (CouchDB: 6984); 5984 usually speaks http."
            return failed(f"{url}: no TLS answer within {self._endpoint.connect_timeout_s:g} s.", "tls", hint)
        cause = error.args[-1] if isinstance(error, ProtocolError) and error.args else error
        timeout_s = self._endpoint.read_timeout_s
        unknown = method != "GET"
        if isinstance(error.__cause__, TooSlow) or isinstance(cause, TimeoutError):
            message = f"{url}: it did not take the request within {timeout_s:g} s."
            if isinstance(error.__cause__, TooSlow):
                message = f"{url}: the answer came too slowly ({error.__cause__})."
            return failed(message, "read timeout", outcome_unknown=unknown, overload=True)
        if isinstance(error, ReadTimeoutError):
            hint = "Give it more time with --timeout SECONDS."
            return failed(
                f"{url}: no answer within {timeout_s:g} s.",
                "read timeout",
                hint,
                outcome_unknown=unknown,
                overload=True,
            )
        reason = getattr(cause, "strerror", None) or type(cause).__name__
        message = f"{url}: the connection broke during {method} ({reason})."
        return failed(message, "reset", outcome_unknown=unknown)

    def _of_proxy(self, error: ProxyError) -> EndpointError:
        """Nothing came to the server: the proxy itself cannot be reached, or it does not let us through."""
        cause = error.original_error
        text = str(cause)
        if "407" in text:
            self._refuse_proxy(407)
        proxy = redact(self._endpoint.proxy or "")
        hint = "Check http_proxy and https_proxy; name the server in no_proxy to reach it without."
        reason = text.removeprefix("Tunnel connection failed: ") if "Tunnel" in text else ""
        reason = reason or getattr(cause.__cause__ or cause.__context__, "strerror", None) or type(cause).__name__
        return TransientError(
            f"{self._endpoint.url}: the proxy {proxy} cannot be used: {reason}.", hint=hint, signature="proxy"
        )

    def _refuse_proxy(self, status: int) -> None:
        if status == 407:
            raise EndpointError(
                f"{self._endpoint.url}: the proxy {redact(self._endpoint.proxy or '')} wants credentials, "
                "or refuses those it got.",
                hint="Write them in front of its host: https_proxy=http://user:password@host:port.",
            )


def _timeout(endpoint: Endpoint) -> Timeout:
    return Timeout(connect=endpoint.connect_timeout_s, read=endpoint.read_timeout_s)


def _pool(endpoint: Endpoint, **options: Any) -> urllib3.HTTPConnectionPool | urllib3.PoolManager:
    options["timeout"] = _timeout(endpoint)
    options["retries"] = False
    classes = pool_classes(endpoint.read_timeout_s)
    if endpoint.proxy is None:
        parts = urlsplit(endpoint.url)
        return classes[parts.scheme](parts.hostname or "", parts.port, **options)
    userinfo, proxy = divide_credentials(endpoint.proxy)
    if userinfo:
        user, _, password = userinfo.partition(":")
        pair = f"{unquote(user)}:{unquote(password)}".encode(errors="surrogateescape")
        options["proxy_headers"] = {"Proxy-Authorization": f"Basic {b64encode(pair).decode()}"}
    manager = urllib3.ProxyManager(proxy, **options)
    manager.pool_classes_by_scheme = classes
    return manager


def _tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=endpoint.ca_file)
        if endpoint.client_cert:
            context.load_cert_chain(endpoint.client_cert, endpoint.client_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"The certificate files for {endpoint.url} cannot be used: {error.strerror or error}.",
            hint="Both must be PEM; --client-key belongs to --client-cert.",
        ) from None
    return context


def _tls_reason(error: Exception) -> str:
    text = str(error)
    return (
        text.partition("CERTIFICATE_VERIFY_FAILED] certificate verify failed: ")[2].partition(" (_ssl")[0] or text
    )
