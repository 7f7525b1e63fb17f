"""Revisions computed here against those of a real server, for documents as ugly as they come."""

from __future__ import annotations

import json
import random
from urllib.parse import unquote, urlsplit

import pytest
import urllib3

from migrator.couch.revision import first_revision, revision_after, rule_holds
from tests import support
from tests.support.revision_rule import EDGE_INTEGERS

LETTERS = ["a", '"', "\\", "\n", "\0", "é", "漢", "😀", "\u2028", "\uffff", "\x7f", "/", '" :', "e-400", "\ud7ff"]
INTEGERS = [
    *EDGE_INTEGERS,
    2**59,
    2**60,
    2**63,
    2**64,
    -(2**63),
    10**307,
]
NUMBERS = ["-0", "-0.0", "0.0", "1E5", "1.10", "0e400", "-0e5", "1e+22", "1e-7", "100e-2", "7E+3", "3e-5", "1e16"]
NUMBERS += [
    "123456789012345678901234567890.5",
    "0.10000000000000000000000000000000000000001",
    "12345678901234567890e3",
]


@pytest.fixture
def database_url(server_url: str, database_prefix: str) -> str:
    """A new database, which is removed afterwards."""
    url = f"{server_url}/{database_prefix}revision"
    assert support.request("PUT", url)[0] == 201
    return url


class Ugly:
    """Makes JSON texts of documents, each spelled in its own way."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def document(self, special: str) -> str:
        """A document whose text begins with the special fields given."""
        members = [special, *(self._member(0) for _ in range(self._random.randint(0, 6)))]
        return "{" + ",".join(members) + "}"

    def chance(self, share: float) -> bool:
        """True for a share of the calls."""
        return self._random.random() < share

    def _member(self, depth: int) -> str:
        key = self._random.choice(["a", "b", "c", '"k', "k\\", "", 'k"x:', self._text()])
        space = self._random.choice(["", "", " ", "\n", "  \t"])
        return f"{space}{self._string(key)}{space}:{space}{self._value(depth)}{space}"

    def _value(self, depth: int) -> str:
        kind = self._random.randrange(10)
        if depth > 5 or kind < 6:
            return self._scalar()
        count = self._random.randint(0, 4)
        if kind < 8:
            return "[" + ", ".join(self._value(depth + 1) for _ in range(count)) + "]"
        if kind == 8:
            top = self._random.choice([255, 256])
            items = (self._random.randint(0, top) for _ in range(self._random.choice([1, 3, 1000])))
            return "[" + ",".join(map(str, items)) + "]"
        return "{" + ",".join(self._member(depth + 1) for _ in range(count)) + "}"

    def _scalar(self) -> str:
        number = self._random.random() * 10 ** self._random.randint(-290, 300)
        choices = ["true", "false", "null", self._random.choice(NUMBERS), repr(number), repr(-number)]
        choices += [str(self._random.choice(INTEGERS)), str(self._random.randint(-(10**300), 10**300))]
        choices += [self._string(self._text()) for _ in range(4)]
        return self._random.choice(choices)

    def _text(self) -> str:
        return "".join(self._random.choices(LETTERS, k=self._random.choice([0, 1, 3, 10, 300])))

    def _string(self, text: str) -> str:
        return json.dumps(text, ensure_ascii=self.chance(0.5))


def write(database_url: str, documents: list[str]) -> dict[str, str]:
    """Write documents as the very texts that are given; the answer is their revisions by id."""
    parts = urlsplit(database_url)
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
    headers = urllib3.make_headers(basic_auth=user) | {"Content-Type": "application/json"}
    url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    body = '{"docs":[' + ",".join(documents) + "]}"
    answer = urllib3.request("POST", f"{url}/_bulk_docs", body=body.encode(), headers=headers, retries=False)
    assert answer.status == 201, answer.data
    return {row["id"]: row["rev"] for row in answer.json()}


def test_the_rule_is_known_to_hold_or_not(server_url: str, database_url: str, is_couchdb: bool) -> None:
    """On CouchDB itself it holds; another server is found to have a rule of its own, and has it."""
    text = '{"_id":"plain","x":1}'
    as_computed = write(database_url, [text]) == {"plain": first_revision(text)}
    assert is_couchdb is rule_holds(support.get(f"{server_url}/"))
    assert is_couchdb is as_computed


def test_first_revisions_are_those_of_the_server(database_url: str, is_couchdb: bool) -> None:
    """500 ugly documents on CouchDB itself; elsewhere they only have to be written."""
    ugly = Ugly(seed=1)
    documents = {f"d{number:03}": ugly.document(f'"_id":"d{number:03}"') for number in range(500)}
    given = write(database_url, list(documents.values()))
    assert documents.keys() == given.keys()
    computed = {id: first_revision(text) for id, text in documents.items()}
    if is_couchdb:
        assert computed == given
    else:
        assert computed != given


def test_later_revisions_are_those_of_the_server(database_url: str, is_couchdb: bool) -> None:
    """Updates, deletions and writes over tombstones, three times over 100 ugly documents."""
    ugly = Ugly(seed=2)
    parents: dict[str, str] = {}
    deleted: set[str] = set()
    for _ in range(4):
        computed: dict[str, str | None] = {}
        sent = []
        for id in (f"d{number:02}" for number in range(100)):
            special = f'"_id":"{id}"'
            # Over a tombstone one writes as if nothing had been there.
            if id in parents and id not in deleted:
                special += f',"_rev":"{parents[id]}"'
            if id not in deleted and ugly.chance(0.3):
                special += ',"_deleted":true'
                deleted.add(id)
            else:
                deleted.discard(id)
            text = ugly.document(special)
            sent.append(text)
            computed[id] = revision_after(text, parents[id]) if id in parents else first_revision(text)
        parents = write(database_url, sent)
        if is_couchdb:
            assert computed == parents
        else:
            assert computed != parents
