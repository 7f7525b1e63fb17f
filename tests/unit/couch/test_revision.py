"""CouchDB's revisions, computed from content; every expected one was given by a real CouchDB 3.5.0."""

import json
from pathlib import Path
from typing import Any

import pytest

from migrator.couch import revision
from migrator.couch.revision import first_revision, revision_after, rule_holds

DATA = Path(__file__).parents[2] / "data"
EMPTY = "1-967a00dff5e02add41819138abb3284d"
APACHE = {"couchdb": "Welcome", "version": "3.5.0", "vendor": {"name": "The Apache Software Foundation"}}


def lines(name: str) -> list[dict[str, Any]]:
    with (DATA / name).open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def spelled_otherwise(text: str) -> str:
    return json.dumps(json.loads(text, object_pairs_hook=Pairs), indent=1)


class Pairs(dict[str, Any]):
    """An object that keeps its repeated keys, for `json.dumps`."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs

    def items(self) -> Any:
        """The pairs as they came."""
        return self.pairs


def test_every_first_revision_of_a_real_server_is_met() -> None:
    """1,506 odd documents get the revisions that the server gave them, as text and as bytes."""
    recorded = lines("first-revisions.ndjson")
    wrong = [
        line["document"]
        for line in recorded
        if not line["rev"] == first_revision(line["document"]) == first_revision(line["document"].encode())
    ]
    assert len(recorded) == 1506
    assert wrong == []


def test_the_spelling_of_a_text_does_not_count() -> None:
    """Spaces, line breaks and escapes leave the revision as it is."""
    recorded = lines("first-revisions.ndjson")[::10]
    assert [line["rev"] for line in recorded] == [
        first_revision(spelled_otherwise(line["document"])) for line in recorded
    ]


def test_every_revision_of_an_update_is_met() -> None:
    """300 updates, deletions and writes over tombstones get the revisions that the server gave them."""
    recorded = lines("update-revisions.ndjson")
    wrong = [line for line in recorded if line["rev"] != revision_after(line["document"], line["parent"])]
    assert len(recorded) == 300
    assert wrong == []


REPLICATION = (
    '{"z":1,"_replication_id":2,"y":3,"_replication_state":1,"_replication_state_time":1,'
    '"_replication_state_reason":{},"_replication_stats":[]}'
)
LARGEST = str(2**1024 - 2**970 - 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", EMPTY),
        ('{"":{"":[]}}', "1-ace105a6523b0973373058bda5f569df"),
        ('{"v":-0}', "1-083d7391ec71ec717a762c87db469932"),
        ('{"v":-0.0}', "1-5a7811452a4161777cd378304565ccf1"),
        ('{"v":-0e5}', "1-5a7811452a4161777cd378304565ccf1"),
        ('{"v":0e400}', "1-68432df6fda388de9a3864ac7b1129d3"),
        ('{"v":2.225073858507202e-308}', "1-34625be35bda3ede62757143456e8ee1"),
        ('{"v":0.12345678901234567890123456789012345e5}', "1-a41a10ed7bff87127a5193a47c23726f"),
        ('{"v":' + LARGEST + "}", "1-dc00c7c0b80ac1a38d326b55be7b2938"),
        ('{"v":-' + LARGEST + "}", "1-38951ba371cbd01b01cff2d9c51ea049"),
        ('{"v":[2147483647,2147483648,-2147483648,-2147483649]}', "1-a29124bf2a8932b39019c6216afdef86"),
        ('{"k":[255,256]}', "1-71c68db4195c7b29918e375dc27f6c72"),
        ('{"k":[1,true]}', "1-a669d6fd18730dc44bfbb13ec31aa931"),
        ('{"v":"\\uffff\ufdd0\\u0000\x7f"}', "1-537719c0963d6dbb5a30f93a946ce060"),
    ],
)
def test_odd_values_are_computed_as_the_server_does(text: str, expected: str) -> None:
    """Zeros of both signs, the largest integers and floats, bytes in lists, odd characters."""
    assert expected == first_revision(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{" + f'"k":[{",".join(["7"] * 65535)}]' + "}", "1-5e2292c56b2c5f328cfd32a53628150a"),
        ("{" + f'"k":[{",".join(["7"] * 65536)}]' + "}", "1-ae2def270edfc96876bea92afa877051"),
        ('{"k":"' + "x" * 1023 + '","l":"' + "x" * 1024 + '"}', "1-dc7a9fb4af5de8b64bde76f18f254412"),
    ],
    ids=["65535 bytes", "65536 bytes", "1024 characters"],
)
def test_the_bounds_of_the_term_format_are_met(text: str, expected: str) -> None:
    """A list of bytes is a string up to 65,535 of them; strings of any length have one form."""
    assert expected == first_revision(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":' + "[" * 300 + "]" * 300 + "}", "1-527b1feca0aebc00142f4ae8c1218947"),
        ('{"a":' + "[" * 2000 + '"\\"a\\":1",{}' + "]" * 2000 + "}", "1-d4b2fb22b7050be648332eb9752b4f8b"),
        ('{"a":' + '[{"b":' * 50000 + "1.5" + "}]" * 50000 + "}", "1-b15d2adb1ea22557b0a4ce318c6d60f4"),
    ],
    ids=["300", "2000", "100000"],
)
def test_depth_has_no_limit(text: str, expected: str) -> None:
    """A document of 100,000 levels has its revision too."""
    assert expected == first_revision(text)


def test_a_repeated_key_in_great_depth_counts_last() -> None:
    """As CouchDB 3.5.0 answered for this text: of equal keys the last one counts, in the last one's place."""
    text = '{"a":' + "[" * 100_000 + '{"b":1,"c":2,"b":3}' + "]" * 100_000 + "}"
    assert first_revision(text) == "1-e6bcd500283aee6f1632f9832f5c488b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"v":{"a":1,"a":2,"b":3,"a":4}}', "1-d3f8ea3dbf17581c30882c6d9f654082"),
        ('{"a":1,"a" :2}', "1-3975759ccff3842adf690a5c10caee42"),
        ('{"a":1,"b":3,"a":2}', "1-ba52ac640c827d1ebf56ee7b46577c5c"),
    ],
)
def test_of_repeated_keys_the_last_counts_in_the_last_place(text: str, expected: str) -> None:
    """As the server keeps them, not as Python's dict would."""
    assert expected == first_revision(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"_id":"any","_deleted":false}', EMPTY),
        ('{"_attachments":{}}', EMPTY),
        ('{"_id":"any","_rev":"3-c","_revisions":{"start":3,"ids":["c","b","a"]}}', EMPTY),
        (
            '{"_revs_info":1,"_conflicts":2,"_deleted_conflicts":3,"_local_seq":4,"x":5}',
            "1-050d231c89237ee0091d1bf6721ad72f",
        ),
        ('{"_deleted":true,"x":1}', "1-9a6e683ed6ff87055449755563763f76"),
        ('{"_access":["x"],"a":1}', "1-0555c2d76ced2de1e88385b7dab5bb3e"),
        (REPLICATION, "1-461400e2f8b6948fb7772f07d04904e0"),
        ('{"_id":"_design/x","language":"query"}', "1-e296b424a602b2ab1503888940479070"),
    ],
)
def test_special_fields_enter_as_on_the_server(text: str, expected: str) -> None:
    """Bookkeeping stays out, a tombstone is another document, and what the server keeps in the body counts."""
    assert expected == first_revision(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"_attachments":{"a":{"data":""}}}',
        '{"_deleted":1}',
        '{"_foo":1}',
        '{"_id":5}',
        '{"_id":""}',
        '{"_id":"_local/x"}',
        '{"_id":"_design/"}',
        '{"_id":"_x"}',
        "[]",
        "null",
        "",
        "{",
        '{"a":1}x',
        '\ufeff{"a":1}',
        '{"a":NaN}',
        '{"a":-Infinity}',
        '{"a":01}',
        '{"a":1e400}',
        '{"a":1.8e308}',
        '{"a":"\\ud800"}',
        '{"a":"\ud800"}',
        '{"\\udc00":1}',
        '{"a":"\n"}',
        '{"a":' + str(2**1024 - 2**970) + "}",
        '{"a":-' + "9" * 400 + "}",
        '{"a":' + "9" * 5000 + "}",
        '{"a":' + "[" * 2000 + "}",
    ],
)
def test_what_the_server_refuses_or_changes_has_no_revision(text: str) -> None:
    """None, never a guess and never an exception."""
    assert first_revision(text) is None


@pytest.mark.parametrize(
    "number",
    [
        "5e-324",
        "-3e-322",
        "4e-320",
        "2.2250738585072014e-308",
        "1e-400",
        "0.1e-400",
        "300e-324",
        "0." + "0" * 330 + "1",
        "12345678901234567890123456789012345e5",
        "3e-00000000000000000000000000000000005",
    ],
)
def test_numbers_that_versions_round_differently_have_no_revision(number: str) -> None:
    """CouchDB up to 3.5.1 and later ones make different floats of these texts."""
    assert first_revision(f'{{"a":{number}}}') is None
    assert first_revision(f'{{ "a": [{number}] }}') is None


def test_bytes_that_are_no_utf8_have_no_revision() -> None:
    """The server refuses them."""
    assert first_revision(b'{"a":"\xff"}') is None


@pytest.mark.parametrize(
    ("parent", "expected"),
    [
        ("1-a", "2-44ef555a66071e1755aea7ac712a5549"),
        ("3-ééé", "4-9a0d05e704701404a25748f9afac658c"),
        ("2-abababababababababababababababab", "3-1abe5c9e3b375fc4e480bf92d5ff1419"),
        ("2-ABABABABABABABABABABABABABABABAB", "3-1abe5c9e3b375fc4e480bf92d5ff1419"),
        ("1-" + "q" * 1100, "2-90042bbdc5ce948160e6ccd7757a36f0"),
    ],
    ids=["short", "not ASCII", "digest", "upper case", "long"],
)
def test_a_parent_may_have_any_form_that_the_server_takes(parent: str, expected: str) -> None:
    """Digests count as sixteen bytes, other revisions as their characters."""
    assert expected == revision_after('{"x":1}', parent)


@pytest.mark.parametrize(
    "parent", ["", "1", "1-", "0-a", "a-1", "2-" + "zz" * 16, "2-" + "é" * 16, "9" * 5000 + "-a"]
)
def test_what_is_no_revision_has_no_successor(parent: str) -> None:
    """None, never a guess and never an exception."""
    assert revision_after("{}", parent) is None


def test_the_memory_of_keys_is_bounded() -> None:
    """Neither many nor long keys stay in memory."""
    long_key = "k" * 65
    kept = revision._KeyTerms({None: b""})
    for key in (long_key, *(f"key {number}" for number in range(10_000))):
        assert kept[key] == b"h\x02m" + len(key).to_bytes(4, "big") + key.encode()
    assert len(kept) == revision.MAX_KEPT_KEYS
    assert long_key not in kept


@pytest.mark.parametrize(
    ("welcome", "expected"),
    [
        (APACHE, True),
        ({**APACHE, "version": "3.2.1"}, True),
        ({**APACHE, "version": "4.0.0"}, False),
        ({**APACHE, "version": "2.3.1"}, False),
        ({**APACHE, "vendor": {"name": "PouchDB"}}, False),
        ({**APACHE, "vendor": "The Apache Software Foundation"}, False),
        ({"couchdb": "Welcome"}, False),
        ({}, False),
    ],
)
def test_only_couchdb_itself_has_the_rule(welcome: dict[str, Any], expected: bool) -> None:
    """PouchDB Server answers like CouchDB, but gives revisions of its own."""
    assert expected is rule_holds(welcome)
