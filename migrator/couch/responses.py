"""Translates the server's answers and the network's failures, once, at the edge: into data, rows or our errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

import orjson
from urllib3 import exceptions

from migrator.codec import InvalidDocument, decode_value
from migrator.couch.endpoint import Endpoint, redact
from migrator.couch.trouble import SERVER_TROUBLE, is_verdict
from migrator.errors import BatchRefused, EndpointError, Forbidden, TargetMissing, TransientError, Unauthorized

WAIT_HINT = "Check the address, or wait for the server with: migrator wait {url}"
OTHER_HINT = "Check the address and the network; go on with --resume."
CREDENTIALS_HINT = (
    "Set COUCHDB_USER and COUCHDB_PASSWORD (or COUCHDB_PASSWORD_FILE), or put them into the URL; "
    "at IBM Cloudant set COUCHDB_IAM_API_KEY. "
    "Do not try many times: CouchDB locks an account for five minutes after five failures."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it came: status, headers and the body's bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self, what: str) -> Any:
        """The body as exact JSON.

        Raises:
            TransientError: it is torn, or an error was appended to it, as CouchDB does inside a 200.
        """
        try:
            return decode_value(self.body)
        except InvalidDocument as error:
            tail = self.body[-500:].decode("utf-8", "replace")
            at = tail.rfind('{"error":')
            reason = tail[at:].strip() if at >= 0 else f"{len(self.body)} bytes that are not whole JSON"
            raise TransientError(
                f"{what}: the answer broke off: {reason}.", outcome_unknown=True, signature="torn answer"
            ) from error

    def error(self) -> tuple[str, str]:
        """The server's word and sentence for a failure; a proxy's page gives its first words."""
        try:
            value = decode_value(self.body)
        except InvalidDocument:
            value = None
        if isinstance(value, dict) and "error" in value:
            return str(value["error"]), str(value.get("reason", ""))
        return f"http_{self.status}", " ".join(self.body[:200].decode("utf-8", "replace").split())


def retry_after_s(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Seconds that `Retry-After` asks for, as a number or a date; None when it is absent or unreadable.

    A date is one by the server's clock, which its answer tells where `now` does not.
    """
    text = headers.get("Retry-After")
    if not text:
        return None
    try:
        seconds = float(text)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    except ValueError:
        pass
    date = http_date(text)
    if date is None:
        return None
    now = now or http_date(headers.get("Date") or "") or datetime.now(UTC)
    return max(0.0, (date - now).total_seconds())


def http_date(text: str) -> datetime | None:
    """A time as headers have it; None where it is unreadable."""
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def refuse(answer: Answer, what: str, url: str) -> NoReturn:
    """Raise the error that an answer of an unwanted status stands for.

    Args:
        answer: the answer.
        what: what was asked for, for people.
        url: the server's URL without credentials.
    """
    status = answer.status
    error, reason = answer.error()
    text = f"{what} at {url}: {status} {error}" + (f" ({reason})" if reason else "") + "."
    if status == 401:
        raise Unauthorized(
            f"{what} at {url}: the credentials were refused ({reason or error}).", hint=CREDENTIALS_HINT
        )
    if status == 403:
        locked = "locked" in reason.lower()
        hint = "Wait five minutes; the account is locked." if locked else "Ask the server's admin for the right."
        raise Forbidden(text, hint=hint)
    if status == 404:
        raise TargetMissing(text, hint="Check the name; list what there is with: curl URL/_all_dbs")
    if 300 <= status < 400:
        raise EndpointError(
            f"{what} at {url}: the server points to {redact(answer.headers.get('Location', 'another address'))}.",
            hint="Credentials are not sent on to another address: name it in the URL if it is right.",
        )
    if status in {408, 429} or status >= 500 or error in SERVER_TROUBLE:
        raise TransientError(
            text,
            hint="The server is in trouble or too busy; go on later with --resume.",
            retry_after_s=retry_after_s(answer.headers),
            outcome_unknown=status not in {408, 429},
            overload=status in {408, 429, 503, 504} or error == "timeout",
            status=status,
            signature=f"{status} {error} {reason}",
        )
    raise EndpointError(text, hint="Look at the server's log, and ask it yourself: curl URL")


def bulk_rows(answer: Answer, what: str) -> list[dict[str, Any]] | None:
    """The rows of a bulk write's answer, whatever its status; None where it was refused.

    A row that is not a verdict has the `status` too where that was a 500.

    Raises:
        TransientError: it was accepted, and the rows are not there.
    """
    if answer.body[:1] == b"[":
        try:
            rows = orjson.loads(answer.body)
        except ValueError:
            rows = None
        if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
            if b'"reason"' in answer.body:
                return [_with_word(row, answer.status) for row in rows]
            return rows
    if answer.status in {200, 201, 202}:
        raise TransientError(
            f"{what}: the answer broke off.",
            outcome_unknown=True,
            status=answer.status,
            signature="torn answer",
        )
    return None


def _with_word(row: dict[str, Any], status: int) -> dict[str, Any]:
    if "error" not in row:
        # PouchDB has no word for what a validation function throws that is not an error.
        return {**row, "error": "unknown_error"} if "reason" in row and "rev" not in row else row
    # By rows of a 500 the server does not stand, as it does by those of a validation function.
    return {**row, "status": status} if status >= 500 and not is_verdict(row["error"]) else row


def refuse_bulk(answer: Answer, what: str, url: str) -> NoReturn:
    """Raise what a refused `_bulk_docs` stands for: BatchRefused where a document can be the cause.

    `server_fault` says that the word is not a verdict on a document (see `couch.trouble`).
    """
    status = answer.status
    error, reason = answer.error()
    text = f"{what} at {url}: {status} {error}" + (f" ({reason})" if reason else "") + "."
    if status in {400, 409, 412, 413, 422} and error not in SERVER_TROUBLE:
        raise BatchRefused(
            text,
            status=status,
            error=error,
            reason=reason,
            guilty_id=reason if error == "document_too_large" else "",
            maybe_written=status == 412,
            # A proxy has no word for what is too large for it.
            server_fault=not is_verdict(error) and status != 413,
        )
    if status == 500 and error not in SERVER_TROUBLE and not error.startswith("http_"):
        raise BatchRefused(text, status=status, error=error, reason=reason, maybe_written=True, server_fault=True)
    refuse(answer, what, url)


class TooSlow(TimeoutError):
    """The other side sends too little."""


def network_error(endpoint: Endpoint, method: str, error: Exception) -> EndpointError:
    """What a failure of the network stands for.

    Args:
        endpoint: whom was asked.
        method: what a request by it does, if it was carried out.
        error: of the connection.
    """
    url = endpoint.url

    usual = WAIT_HINT if endpoint.couchdb else OTHER_HINT

    def failed(message: str, signature: str, hint: str = usual, **more: bool) -> TransientError:
        return TransientError(message, hint=hint.format(url=url), signature=signature, **more)

    if isinstance(error, exceptions.ProxyError):
        return _proxy_error(endpoint, error)
    if isinstance(error, exceptions.NameResolutionError):
        return failed(f"{url}: the host's name is not known.", "name")
    if isinstance(error, exceptions.NewConnectionError):
        cause = error.__cause__ or error.__context__
        return failed(f"{url}: {getattr(cause, 'strerror', None) or 'connection failed'}.", "connect")
    if isinstance(error, exceptions.ConnectTimeoutError):
        timeout_s = endpoint.connect_timeout_s
        return failed(f"{url}: no connection within {timeout_s:g} s.", "connect timeout")
    if isinstance(error, exceptions.SSLError):
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return EndpointError(
                f"{url}: the server's certificate is not trusted ({_tls_reason(error)}).",
                hint="Name the authority that signed it with --ca-file FILE.",
            )
        return failed(f"{url}: TLS failed ({_tls_reason(error)}).", "tls", outcome_unknown=True)
    if isinstance(error, exceptions.ReadTimeoutError) and "handshake" in f"{error.__cause__} {error.__context__}":
        hint = "Check that the port speaks https (CouchDB: 6984); 5984 usually speaks http."
        return failed(f"{url}: no TLS answer within {endpoint.connect_timeout_s:g} s.", "tls", hint)
    cause = error.args[-1] if isinstance(error, exceptions.ProtocolError) and error.args else error
    timeout_s = endpoint.read_timeout_s
    unknown = method != "GET"
    if isinstance(error.__cause__, TooSlow) or isinstance(cause, TimeoutError):
        message = f"{url}: it did not take the request within {timeout_s:g} s."
        if isinstance(error.__cause__, TooSlow):
            message = f"{url}: the answer came too slowly ({error.__cause__})."
        return failed(message, "read timeout", outcome_unknown=unknown, overload=True)
    if isinstance(error, exceptions.ReadTimeoutError):
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


def _proxy_error(endpoint: Endpoint, error: exceptions.ProxyError) -> EndpointError:
    """Nothing came to the server: the proxy itself cannot be reached, or it does not let us through."""
    cause = error.original_error
    text = str(cause)
    if "407" in text:
        refuse_proxy(endpoint, 407)
    proxy = redact(endpoint.proxy or "")
    hint = "Check http_proxy and https_proxy; name the server in no_proxy to reach it without."
    reason = text.removeprefix("Tunnel connection failed: ") if "Tunnel" in text else ""
    reason = reason or getattr(cause.__cause__ or cause.__context__, "strerror", None) or type(cause).__name__
    return TransientError(
        f"{endpoint.url}: the proxy {proxy} cannot be used: {reason}.", hint=hint, signature="proxy"
    )


def refuse_proxy(endpoint: Endpoint, status: int) -> None:
    """Raise what a proxy says that wants credentials."""
    if status == 407:
        raise EndpointError(
            f"{endpoint.url}: the proxy {redact(endpoint.proxy or '')} wants credentials, "
            "or refuses those it got.",
            hint="Write them in front of its host: https_proxy=http://user:password@host:port.",
        )


def _tls_reason(error: Exception) -> str:
    text = str(error)
    return (
        text.partition("CERTIFICATE_VERIFY_FAILED] certificate verify failed: ")[2].partition(" (_ssl")[0] or text
    )
