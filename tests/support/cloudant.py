"""Stand-ins of a hosted CouchDB: a service that gives tokens for a key, and a gate to a server that wants them."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs

import urllib3

from tests.support.stub_server import Asked, Reply, StubServer

KEY = "k3y-n0t-to-be-shown"


class TokenService:
    """Gives tokens for one key.

    Args:
        key: the one that it takes.
        expires_in: what it says of each token, in seconds.
        troubles: what it answers first.
    """

    def __init__(self, key: str = KEY, expires_in: float = 3600, troubles: tuple[Reply | None, ...] = ()) -> None:
        self.key = key
        self.expires_in = expires_in
        self.given: list[str] = []
        self._troubles = list(troubles)
        self._numbers = itertools.count(1)
        self._server = StubServer(self._answer)
        self.url = f"{self._server.url}/identity/token"

    @property
    def asked(self) -> list[Asked]:
        """All that it was asked."""
        return self._server.asked

    def _answer(self, asked: Asked) -> Reply | None:
        if self._troubles:
            return self._troubles.pop(0)
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        if form != {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": self.key}:
            refusal = {"errorCode": "BXNIM0415E", "errorMessage": "Provided API key could not be found."}
            return Reply(400, refusal)
        self.given.append(f"token-{next(self._numbers)}")
        return Reply(200, {"access_token": self.given[-1], "expires_in": self.expires_in, "token_type": "Bearer"})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()


class Gate:
    """Lets a request through to a server when it has the newest of something that is good for a few requests.

    Args:
        server: the server behind it, with its own credentials in the URL; None: all that is let in gets `{}`.
        good: so many requests each is good for.
        newest: gives what a request must say, as header and value; None for nothing yet.
        open_to: paths that are let through as they are.
    """

    def __init__(
        self,
        newest: Callable[[], tuple[str, str] | None],
        *,
        server: str | None = None,
        good: int = 5,
        answer: Callable[[Asked], Reply | None] = lambda _: None,
    ) -> None:
        self.refused = 0
        self._newest = newest
        self._good = good
        self._used: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()
        self._own = answer
        self._pool = urllib3.PoolManager()
        self._behind = server
        self._server = StubServer(self._answer)
        self.url = self._server.url

    @property
    def asked(self) -> list[Asked]:
        """All that it was asked."""
        return self._server.asked

    def _answer(self, asked: Asked) -> Reply | None:
        own = self._own(asked)
        if own is not None:
            return own
        with self._lock:
            newest = self._newest()
            if newest is None or asked.headers.get(newest[0]) != newest[1]:
                self.refused += 1
                return Reply(401, {"error": "unauthorized", "reason": "You are not authorized"})
            self._used[newest] = self._used.get(newest, 0) + 1
            if self._used[newest] > self._good:
                self.refused += 1
                return Reply(401, {"error": "credentials_expired", "reason": "Credentials have expired"})
        return self._through(asked) if self._behind else Reply(200, {})

    def _through(self, asked: Asked) -> Reply:
        assert self._behind is not None
        account, _, host = self._behind.partition("://")[2].rpartition("@")
        headers = {"Content-Type": asked.headers.get("Content-Type", "application/json")}
        if account:
            headers |= urllib3.make_headers(basic_auth=account)
        answer = self._pool.request(
            asked.method, f"http://{host}{asked.path}", body=asked.body, headers=headers, retries=False
        )
        kept = {name: value for name, value in answer.headers.items() if name in {"Content-Type", "ETag", "Date"}}
        return Reply(answer.status, answer.data, kept)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()


def bearer(service: TokenService) -> Callable[[], tuple[str, str] | None]:
    """What a request must say while the newest token of a service counts."""
    return lambda: ("Authorization", f"Bearer {service.given[-1]}") if service.given else None


class Sessions:
    """Opens sessions, of which the newest counts; give `answer` and `newest` to a gate.

    Args:
        max_age: what a cookie says of itself; "" for nothing.
    """

    def __init__(self, user: str, password: str, max_age: str = "; Max-Age=600") -> None:
        self.opened: list[str] = []
        self._account = {"name": user, "password": password}
        self._max_age = max_age

    def answer(self, asked: Asked) -> Reply | None:
        """The answer to `POST /_session`; None for all else."""
        if (asked.method, asked.path) != ("POST", "/_session"):
            return None
        if json.loads(asked.body) != self._account:
            return Reply(401, {"error": "unauthorized", "reason": "Name or password is incorrect."})
        self.opened.append(f"AuthSession=session-{len(self.opened) + 1}")
        return Reply(200, {"ok": True}, self.cookie(self.opened[-1]))

    def cookie(self, session: str) -> Mapping[str, str]:
        """The header by which a session is given."""
        return {"Set-Cookie": f"{session}; Version=1{self._max_age}; Path=/; HttpOnly"}

    def newest(self) -> tuple[str, str] | None:
        """What a request must say."""
        return ("Cookie", self.opened[-1]) if self.opened else None
