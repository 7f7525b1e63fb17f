"""How each request says who asks; the only place that renews what runs out: sessions and tokens of IBM Cloudant.

One login is shared by all clients of a server in this process, so that many threads ask for one token.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode, urlsplit

from migrator.config.connection import BASIC, COOKIE
from migrator.config.pace import UNLIMITED
from migrator.couch.connections import basic
from migrator.couch.credentials import IAM
from migrator.couch.endpoint import Endpoint, proxy_of
from migrator.couch.places import redact
from migrator.couch.responses import CREDENTIALS_HINT, Answer, retry_after_s
from migrator.errors import ConfigError, EndpointError, TransientError, Unauthorized, without_passwords

# What runs out is renewed when so much of its time is over.
SHARE = 0.8
# Of a session that does not say how long it lasts, and of a token.
USUAL_S = 300.0
# Where none could be got, and the one at hand is still good.
AGAIN_S = 10.0
_SESSION = re.compile(r"AuthSession=([^;\s]+)")
_MAX_AGE = re.compile(r"max-age=(\d+)", re.IGNORECASE)
KEY_HINT = (
    "Check COUCHDB_IAM_API_KEY (or the file of COUCHDB_IAM_API_KEY_FILE): ibmcloud iam api-keys; "
    "another service's address is set with COUCHDB_IAM_URL."
)


@dataclass
class Ticket:
    """What a request says, until when it is good, when to get another one, and how many requests have said it."""

    headers: Mapping[str, str]
    renew_at: float
    ends_at: float
    uses: int = 0


class Login:
    """What says who asks, for all threads: got when it is needed, and again before it runs out or when it has.

    Args:
        get: gets a ticket from the server; its time is counted from the moment when it was asked for.
        clock: seconds, for tests.
    """

    def __init__(self, get: Callable[[float], Ticket], clock: Callable[[], float] = time.monotonic) -> None:
        self._get = get
        self._clock = clock
        self._lock = threading.Lock()
        self._ticket: Ticket | None = None
        self._failed: EndpointError | None = None
        self._refused_at = float("-inf")
        self._rounds = 0

    def ticket(self) -> Ticket:
        """One that has not run out.

        Raises:
            Unauthorized: the credentials are refused.
            TransientError: whoever gives tickets is out of reach.
        """
        found = self._ticket
        if found is None:
            return self.instead_of(None)
        if self._clock() < found.renew_at:
            return found
        try:
            return self.instead_of(found)
        except TransientError:
            now = self._clock()
            if now >= found.ends_at:
                raise
            # It is good for a while yet, in which whoever gives tickets may come back.
            found.renew_at = now + AGAIN_S
            return found

    def instead_of(self, old: Ticket | None) -> Ticket:
        """Another one than this, which the server took no more; the errors are those of `ticket`."""
        rounds = self._rounds
        with self._lock:
            if self._ticket is not old and self._ticket is not None:
                return self._ticket
            # Refused just now, maybe for another thread: a few failures more would lock the account.
            refused = self._clock() < self._refused_at + AGAIN_S
            if self._failed is not None and (refused or self._rounds != rounds):
                raise self._failed
            self._rounds += 1
            self._failed = None
            try:
                self._ticket = self._get(self._clock())
            except EndpointError as error:
                self._failed = error
                if isinstance(error, Unauthorized):
                    self._refused_at = self._clock()
                raise
            return self._ticket

    def taken(self, ticket: Ticket, cookies: Sequence[str], asked_at: float) -> None:
        """The server took a ticket, and may have given a newer session with its answer."""
        for cookie in cookies if "Cookie" in ticket.headers else ():
            self._ticket = session_ticket(cookie, asked_at) or self._ticket


def basic_headers(endpoint: Endpoint) -> dict[str, str]:
    """What each request says where name and password go with it; nothing where they do not."""
    if endpoint.user is None or endpoint.auth != BASIC:
        return {}
    return {"Authorization": basic(endpoint.user, endpoint.password or "")}


def login_of(endpoint: Endpoint) -> Login | None:
    """The login of this server and account; None where requests need none, or name and password go with each."""
    if endpoint.user is None or endpoint.auth == BASIC:
        return None
    # How long to wait and the like make no other account.
    usual = Endpoint(endpoint.url)
    return _login(
        replace(endpoint, read_timeout_s=usual.read_timeout_s, max_hold_s=usual.max_hold_s, pace=usual.pace)
    )


@functools.lru_cache(maxsize=64)
def _login(endpoint: Endpoint) -> Login:
    return Login(functools.partial({COOKIE: _session, IAM: _token}[endpoint.auth], endpoint))


def session_ticket(cookie: str, asked_at: float) -> Ticket | None:
    """The ticket of an answer's `Set-Cookie`; None where it has no session."""
    session, max_age = _SESSION.search(cookie), _MAX_AGE.search(cookie)
    if session is None:
        return None
    return _ticket({"Cookie": session[0]}, asked_at, float(max_age[1]) if max_age else USUAL_S)


def _ticket(headers: Mapping[str, str], asked_at: float, lasts_s: float) -> Ticket:
    return Ticket(headers, asked_at + SHARE * lasts_s, asked_at + lasts_s)


def _session(endpoint: Endpoint, now: float) -> Ticket:
    body = json.dumps({"name": endpoint.user, "password": endpoint.password or ""}).encode()
    asked = replace(endpoint, user=None, password=None, pace=UNLIMITED)
    what = "Opening a session"
    answer = _ask(asked, what, f"{endpoint.url}/_session", body, {"Content-Type": "application/json"})
    if answer.status == 401:
        raise Unauthorized(
            f"{what} at {endpoint.url}: the credentials were refused ({answer.error()[1]}).", hint=CREDENTIALS_HINT
        )
    ticket = session_ticket(answer.headers.get("Set-Cookie") or "", now)
    if answer.status == 200 and ticket is not None:
        return ticket
    raise EndpointError(
        f"{endpoint.url} opens no session: it answers {answer.status} {answer.error()[0]}.",
        hint="Send name and password with each request: --auth basic.",
    )


def _token(endpoint: Endpoint, now: float) -> Ticket:
    """A token of IBM's service in exchange for a key."""
    url = redact(endpoint.iam_url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts = None
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"COUCHDB_IAM_URL is {url!r:.100}.", hint="Write https://host/identity/token.")
    asked = replace(
        endpoint,
        url=f"{parts.scheme}://{parts.netloc}",
        user=None,
        password=None,
        pace=UNLIMITED,
        proxy=proxy_of(parts.scheme, parts.hostname, port, os.environ),
        client_cert=None,
        client_key=None,
    )
    grant = {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": endpoint.password or ""}
    what = f"Exchanging the API key for a token at {asked.url}"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = _ask(asked, what, url, urlencode(grant).encode(), form)
    value = _object(answer)
    token, lasts_s = value.get("access_token"), value.get("expires_in")
    if answer.status == 200 and isinstance(token, str) and token.isascii() and token.isprintable():
        lasts_s = float(lasts_s) if isinstance(lasts_s, int | float) and lasts_s > 0 else USUAL_S
        return _ticket({"Authorization": f"Bearer {token}"}, now, lasts_s)
    reason = " ".join(str(value.get(name, "")) for name in ("errorCode", "errorMessage")).strip()
    reason = without_passwords(reason[:300], endpoint.password)
    if answer.status in {400, 401, 403}:
        raise Unauthorized(f"{what}: the key was refused ({reason or answer.status}).", hint=KEY_HINT)
    raise EndpointError(f"{what}: it answers {answer.status}, and gives no token.", hint=KEY_HINT)


def _ask(endpoint: Endpoint, what: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Send credentials.

    Raises:
        TransientError: no answer, or trouble: nothing was done of what they are needed for.
    """
    from migrator.couch.transport import Transport  # which asks this module for its headers

    transport = Transport(endpoint, max_connections=1)
    try:
        with contextlib.closing(transport):
            status, answered, data = transport.request("POST", url, body=body, headers=headers)
    except TransientError as error:
        error.outcome_unknown = error.overload = False
        raise
    answer = Answer(status, answered, data.read())
    if status >= 500 or status in {408, 429}:
        raise TransientError(
            f"{what}: it answers {status}.",
            hint="The service is in trouble or too busy; go on later with --resume.",
            retry_after_s=retry_after_s(answered),
            status=status,
            signature=f"login {status}",
        )
    return answer


def _object(answer: Answer) -> dict[str, Any]:
    try:
        value = json.loads(answer.body)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}
