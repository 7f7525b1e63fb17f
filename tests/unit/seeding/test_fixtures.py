"""Folders of fixtures: every form, and every fault at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from migrator.errors import ConfigError
from migrator.fixtures.extractor import FixtureExtractor
from migrator.fixtures.folder import read_fixtures
from migrator.fixtures.indexes import IndexKey
from migrator.fixtures.model import FixtureDatabase
from migrator.fixtures.problems import FixtureError, Place
from migrator.fixtures.values import parse_now
from tests.unit.seeding.conftest import Folder, Read


def documents(database: FixtureDatabase) -> list[dict[str, Any]]:
    return [json.loads(fixture.body) for fixture in database.documents]


def problems(read: Read, files: dict[str, str], prefix: str = "", **environ: str) -> list[str]:
    with pytest.raises(FixtureError) as caught:
        read(files, prefix=prefix, **environ)
    assert caught.value.exit_code == 2
    assert all(str(problem) in str(caught.value) for problem in caught.value.problems)
    return [str(problem) for problem in caught.value.problems]


def test_every_form_of_file_gives_the_same_documents(read: Read) -> None:
    """JSON files, NDJSON, YAML and CSV hold the same two documents."""
    expected = [{"_id": "a", "n": 1, "at": {"x": "y"}}, {"_id": "b/ü", "n": 2.5}]
    found = read(
        {
            "files/a.json": '{"n": 1, "at": {"x": "y"}}',
            "files/b%2F%C3%BC.json": '{"n": 2.5}',
            "lines.ndjson": '{"_id":"b/ü","n":2.5}\n\n{"_id":"a","n":1,"at":{"x":"y"}}',
            "more.jsonl": '{"_id":"a","n":1,"at":{"x":"y"}}\r\n{"_id":"b/ü","n":2.5}\r\n',
            "keys.json": '{"a": {"n": 1, "at": {"x": "y"}}, "b/ü": {"n": 2.5}}',
            "list.json": '[{"_id": "a", "n": 1, "at": {"x": "y"}}, {"_id": "b/ü", "n": 2.5}]',
            "yaml.yaml": "a: {n: 1, at: {x: y}}\nb/ü:\n  n: 2.5\n",
            "yml.yml": "- {_id: a, n: 1, at: {x: y}}\n- _id: b/ü\n  n: 2.5\n",
            "table.csv": "_id,n:number,at.x\na,1,y\nb/ü,2.5,\n",
        }
    )
    for name, database in found.databases.items():
        assert (name, expected) == (name, documents(database))


def test_documents_come_sorted_by_the_bytes_of_their_ids(read: Read) -> None:
    """The order is that of the server's own lists."""
    database = read({"d.ndjson": "\n".join(json.dumps({"_id": id}) for id in ("b", "B", "é", "a", "\U0001f600"))})
    assert [fixture.id for fixture in database.databases["d"].documents] == ["B", "a", "b", "é", "\U0001f600"]


def test_one_database_can_have_a_folder_and_files(read: Read) -> None:
    """Bulk data in a file and what is special in a folder belong together."""
    found = read({"d/x.json": "{}", "d.ndjson": '{"_id":"y"}', "d.csv": "_id\nz\n", "d/_security.json": "{}"})
    assert [fixture.id for fixture in found.databases["d"].documents] == ["x", "y", "z"]
    assert found.databases["d"].security == {}


def test_an_empty_file_is_an_empty_database(read: Read) -> None:
    """A database can be declared without a document."""
    found = read({"a.ndjson": "", "b.yaml": "", "c.csv": "", "d.json": "[]"})
    assert {name: [] for name in "abcd"} == {name: documents(db) for name, db in found.databases.items()}


def test_made_up_ids_depend_on_the_text_alone(read: Read) -> None:
    """A document without an id has the same one every time, whatever now and the variables are."""
    text = '{"at":"${now}","who":"${WHO}"}'
    first = read({"d.ndjson": text}, WHO="a").databases["d"].documents[0]
    moved = read({"d.ndjson": '{"who":"${WHO}","at":"${now}"}'}, WHO="b").databases["d"].documents[0]
    assert len(first.id) == 32
    assert first.id == moved.id
    assert first.body != moved.body


def test_expressions_are_worked_out_everywhere_but_in_functions(read: Read) -> None:
    """Documents, security and users have expressions; ${} in JavaScript belongs to it."""
    found = read(
        {
            "d.ndjson": '{"_id":"x","at":"${now-1d|date}","n":"${N}","to":"${ref:e/y}"}',
            "e.yaml": "y: {own: '$${N}'}",
            "d/_security.json": '{"members": {"names": ["${N}"]}}',
            "d/_design/f/filters/x.js": "function(d){return `${d.n}`}\n",
            "_users/ada.json": '{"password": "${N}"}',
        },
        N="secret",
    ).databases
    assert documents(found["d"]) == [{"_id": "x", "at": "2024-04-30", "n": "secret", "to": "y"}]
    assert documents(found["e"]) == [{"_id": "y", "own": "${N}"}]
    assert found["d"].security == {"members": {"names": ["secret"]}}
    assert b"`${d.n}`" in found["d"].designs[0].body
    assert documents(found["_users"])[0]["password"] == "secret"


def test_lines_without_expressions_are_taken_byte_for_byte(read: Read) -> None:
    """What need not change is not spelled again, so numbers and the order of keys stay."""
    line = '{"z":1.10,"_id":"x","a":1e2}'
    assert read({"d.ndjson": line}).databases["d"].documents[0].body == line.encode()


def test_bookkeeping_of_another_copy_is_left_out(read: Read) -> None:
    """A _rev that was copied along with a document is no part of it."""
    found = read({"d.ndjson": '{"_id":"x","_rev":"3-abc","a":1}'})
    assert documents(found.databases["d"]) == [{"_id": "x", "a": 1}]


def test_csv_columns_say_what_they_hold(read: Read) -> None:
    """Cells are texts unless the column's name says otherwise; an empty cell is no field, but for :text."""
    text = '_id,zip,n:number,ok:boolean,tags:json,note:text,at\nx,01234,-2,true,"[1,null]",,\ny,,,,,,"a\nb"\n'
    found = read({"d.csv": text, "e.csv": "\ufeff_id,n:number\nx,${now|s}\n"})
    assert documents(found.databases["d"]) == [
        {"_id": "x", "zip": "01234", "n": -2, "ok": True, "tags": [1, None], "note": ""},
        {"_id": "y", "note": "", "at": "a\nb"},
    ]
    assert documents(found.databases["e"]) == [{"_id": "x", "n": 1714564800}]


def test_users_get_what_follows_from_their_name(read: Read) -> None:
    """The file's name is the user's, in a folder or by name elsewhere."""
    found = read(
        {
            "_users/ada.json": '{"password": "pw", "roles": ["dev"]}',
            "_users/org.couchdb.user:bob.json": "{}",
            "_users.yaml": "- {name: cy, password: pw}\n",
        },
        prefix="x_",
    )
    assert found.names == {"_users": "_users"}
    assert documents(found.databases["_users"]) == [
        {"_id": "org.couchdb.user:ada", "name": "ada", "type": "user", "roles": ["dev"], "password": "pw"},
        {"_id": "org.couchdb.user:bob", "name": "bob", "type": "user", "roles": []},
        {"_id": "org.couchdb.user:cy", "name": "cy", "type": "user", "roles": [], "password": "pw"},
    ]


def test_design_documents_and_indexes_are_read(read: Read) -> None:
    """A folder, a file, and indexes whose names are those of their files unless they say otherwise."""
    found = read(
        {
            "d/_design/a/views/v/map.js": "function(doc){\n  emit(doc.n)\n}\n",
            "d/_design/a/views/v/reduce.txt": "_sum\n",
            "d/_design/a/validate_doc_update.js": "function(){}\n\n",
            "d/_design/a/options.json": '{"local_seq": true}',
            "d/_design/b.json": '{"language": "erlang"}',
            "d/_index/by-n.json": '{"index": {"fields": ["n"]}}',
            "d/_index/other.json": '{"ddoc": "_design/i", "name": "m", "index": {"fields": [{"n": "desc"}]}}',
            "d/_database.json": '{"partitioned": true, "q": 2}',
            "d/.hidden": "",
            "README.md": "",
        }
    ).databases["d"]
    assert [json.loads(fixture.body) for fixture in found.designs] == [
        {
            "_id": "_design/a",
            "views": {"v": {"map": "function(doc){\n  emit(doc.n)\n}", "reduce": "_sum"}},
            "validate_doc_update": "function(){}\n",
            "options": {"local_seq": True},
        },
        {"_id": "_design/b", "language": "erlang"},
    ]
    assert list(found.indexes) == [IndexKey("_design/by-n", "by-n"), IndexKey("_design/i", "m")]
    assert found.partitioned
    assert found.options == {"partitioned": True, "q": 2}


def test_a_prefix_goes_before_each_name(read: Read) -> None:
    """Each job of a CI has its own databases."""
    assert read({"a.ndjson": "", "b%2Fc.ndjson": ""}, prefix="ci_7_").names == {"a": "ci_7_a", "b/c": "ci_7_b/c"}


def test_all_faults_are_told_at_once_with_file_and_line(read: Read) -> None:
    """Every kind of fault of the issue, in one folder, each with its place."""
    found = problems(
        read,
        {
            "Shops.ndjson": '{"_id":"x"}',
            "a/one.json": '{\n  "name": "x",\n  "owner": "${ref:people/adaa}",\n  "key": "${UNSET}"\n}',
            "a.ndjson": '{"_id":"two","o":"${ref:nobody/x}"}\n{"_id":"one"}\n{"_id":\n{"_id":"three"}\n[]',
            "people.yaml": "ada:\n  name: Ada\n  boss: ${ref:bob}\n",
            "broken.yaml": "a:\n  - x\n b: y\n",
            "twice.yaml": "a: {}\nb: {}\na: {}\n",
            "table.csv": "_id,n:number\nx,1\ny,two\nz\n",
            "notes.txt": "",
        },
    )
    assert [problem.split(": ")[0] for problem in found] == [
        "Shops.ndjson:1",
        "a.ndjson:1",
        "a.ndjson:2",
        "a.ndjson:3",
        "a.ndjson:5",
        "a/one.json:3",
        "a/one.json:4",
        "broken.yaml:3",
        "notes.txt:1",
        "people.yaml:3",
        "table.csv:3",
        "table.csv:4",
        "twice.yaml:3",
    ]
    text = "\n".join(found)
    for words in (
        "There can be no database 'Shops': that is not a legal name. Write shops.",
        "there is no database 'nobody'",
        "duplicate id 'one': it is also at a/one.json:1",
        "there is no 'adaa' in 'people'; did you mean 'ada'?",
        "the variable UNSET is not set",
        "invalid YAML",
        "invalid JSON",
        "there is no 'bob' in 'people'",
        "'two' is no number",
        "the line has 1 cells",
        "duplicate id or key 'a'",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("files", "place", "words"),
    [
        ({"d/x.json": '{\n"_id": "y"}'}, "d/x.json:2", "gives the id 'x', but _id is 'y'"),
        ({"d.ndjson": '{"_id":7}'}, "d.ndjson:1", "the _id is a text"),
        ({"d.ndjson": '{"_id":""}'}, "d.ndjson:1", "the _id is a text that is not empty"),
        ({"d.ndjson": '{"_id":"_x"}'}, "d.ndjson:1", "begins with an underscore"),
        ({"d.ndjson": '{"_id":"x","_secret":1}'}, "d.ndjson:1", "the top-level field _secret"),
        ({"d.ndjson": '{"_id":"x","a":"\\ud800"}'}, "d.ndjson:1", "surrogate"),
        ({"d.json": "7"}, "d.json:1", "expected a list of documents"),
        ({"d.json": '{"a": {},\n "b": 7}'}, "d.json:2", "a document is an object"),
        ({"d/x.json": "[]"}, "d/x.json:1", "a document is an object"),
        ({"d/x.txt": ""}, "d/x.txt:1", "this is no fixture"),
        ({"d/sub/x.json": "{}"}, "d/sub:1", "this is no fixture"),
        ({"d/_views.json": "{}"}, "d/_views.json:1", "nothing that a database's folder holds"),
        ({"d/_security.json": "[]"}, "d/_security.json:1", "holds one object"),
        ({"d/_security.json": '{"a":\n}'}, "d/_security.json:2", "invalid JSON"),
        ({"d/_database.json": '{"shards": 1}'}, "d/_database.json:1", "'shards': options are"),
        ({"d/_database.json": '{"q": true}'}, "d/_database.json:1", "'q': options are"),
        ({"d/_index/i.json": '{"fields": ["a"]}'}, "d/_index/i.json:1", "there is no 'fields' in an index"),
        ({"d/_index/i.json": "{}"}, "d/_index/i.json:1", "there is no 'index'"),
        ({"d/_index/i.json": '{"index": {"fields": []}}'}, "d/_index/i.json:1", "no list of fields"),
        ({"d/_index/i.txt": ""}, "d/_index/i.txt:1", "an index is a file"),
        (
            {
                "d/_index/i.json": '{"index":{"fields":["a"]}}',
                "d/_index/j.json": '{"ddoc":"i","name":"i","index":{"fields":["b"]}}',
            },
            "d/_index/j.json:1",
            "duplicate id: another file gives the index i/i",
        ),
        ({"d/_design/x/views/v/map.py": ""}, "d/_design/x/views/v/map.py:1", "not of this kind"),
        ({"d/_design/x/a.js": "1", "d/_design/x/a.txt": "2"}, "d/_design/x/a.txt:1", "'a' is there twice"),
        ({"d/_design/x/a.js": "\udcff"}, "d/_design/x/a.js:1", "0xff is no UTF-8"),
        ({"d/_design/x.json": "[]"}, "d/_design/x.json:1", "a design document is an object"),
        ({"d/_design/x.js": ""}, "d/_design/x.js:1", "a folder or a file <name>.json"),
        ({"d/_design/x.json": "{}", "d/_design/x/a.js": ""}, "d/_design/x.json:1", "duplicate id '_design/x'"),
        ({"_users/a.json": '{"name": "b"}'}, "_users/a.json:1", "the name is 'b'"),
        ({"_users/a.json": '{"roles": "x"}'}, "_users/a.json:1", "roles are a list of texts"),
        ({"_users/a.json": '{"type": "x"}'}, "_users/a.json:1", "type is 'user'"),
        ({"_users/a.json": '{"password": 1}'}, "_users/a.json:1", "password is a text"),
        ({"_replicator.ndjson": ""}, "_replicator.ndjson:1", "illegal database name"),
        ({"d.csv": "a,a\n"}, "d.csv:1", "two columns have one name"),
        ({"d.csv": "a:date\n"}, "d.csv:1", "the column 'a:date' is no field"),
        ({"d.csv": 'a\n"x'}, "d.csv:2", "invalid CSV"),
        ({"d.csv": "_id,a,a.b\nx,1,2\n"}, "d.csv:2", "another column gives a a value"),
        ({"d.csv": "_id\n\udcff"}, "d.csv:2", "no UTF-8"),
        ({"d.csv": "_id,a:json\nx,{\n"}, "d.csv:2", "is no json"),
    ],
)  # fmt: skip
def test_each_fault_has_its_place_and_reason(read: Read, files: dict[str, str], place: str, words: str) -> None:
    """Whatever else can be wrong is told in the same way."""
    found = problems(read, files)
    assert len(found) == 1
    assert found[0].startswith(f"{place}: ")
    assert words in found[0]


def test_partitioned_databases_want_partitioned_ids(read: Read) -> None:
    """An id without its partition is found before the server refuses it."""
    found = problems(
        read, {"d/_database.json": '{"partitioned": true}', "d.ndjson": '{"_id":"a:b"}\n{"_id":"ab"}'}
    )
    assert len(found) == 1
    assert found[0].startswith("d.ndjson:2: the database is partitioned")


def test_declared_references_are_checked(read: Read) -> None:
    """_references.json names fields that hold ids, also within arrays; null refers to nothing."""
    files = {
        "_references.json": '{"orders.lines.product": "products",\n "orders.customer": "people"}',
        "products.yaml": "p1: {}\n",
        "people.yaml": "ada: {}\n",
        "orders.json": '[\n{"_id": "1", "customer": "ada", "lines": [{"product": "p1"},\n{"product": "p12"}]},\n'
        '{"_id": "2", "customer": null, "lines": []},\n{"_id": "3", "customer": 7}]',
    }
    assert problems(read, files) == [
        "orders.json:3: wrong reference: there is no 'p12' in 'products'; did you mean 'p1'?.",
        "orders.json:5: wrong reference: there is no 7 in 'people'.",
    ]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ('{"orders": "people"}', "_references.json:1", "write a database's field"),
        ('{\n"people.x": "nobody"}', "_references.json:2", "there is no database 'nobody'"),
        ("[]", "_references.json:1", "holds one object"),
        ("{", "_references.json:1", "invalid JSON"),
    ],
)
def test_wrong_declarations_of_references_are_told(read: Read, text: str, place: str, words: str) -> None:
    """A declaration that means nothing checks nothing, so it is a fault."""
    found = problems(read, {"people.ndjson": "", "_references.json": text})
    assert len(found) == 1
    assert found[0].startswith(place)
    assert words in found[0]


def test_a_prefix_can_make_a_name_illegal(read: Read) -> None:
    """The name with its prefix is what the server gets."""
    with pytest.raises(ConfigError, match="The prefix 'CI'"):
        read({"d.ndjson": ""}, prefix="CI")
    found = problems(read, {"d.ndjson": "", f"{'e' * 230}.ndjson": ""}, prefix="p" * 20)
    assert [found[0].partition(":")[0]] == [f"{'e' * 230}.ndjson"]


def test_a_missing_folder_is_told_with_the_layout(tmp_path: Path) -> None:
    """The hint says what a folder of fixtures holds."""
    with pytest.raises(ConfigError, match="There is no folder") as caught:
        read_fixtures(tmp_path / "none", environ={}, now=parse_now(None))
    assert "<database>/<id>.json" in caught.value.hint


def test_databases_can_be_chosen(read: Read) -> None:
    """Of a folder only some are seeded; a name that is not there is a fault."""
    found = read({"a.ndjson": "", "b.ndjson": ""}, prefix="x_")
    assert found.only(["b"]).names == {"b": "x_b"}
    assert found.only([]).names == {"a": "x_a", "b": "x_b"}
    with pytest.raises(ConfigError, match="no database 'c'"):
        found.only(["c"])


def test_the_extractor_goes_on_behind_a_position(read: Read, folder: Folder) -> None:
    """It is a source like others: ordered, repeatable, with places for people."""
    database = read({"d.ndjson": '{"_id":"a"}\n{"_id":"b"}\n{"_id":"c"}'}).databases["d"]
    extractor = FixtureExtractor(folder({}), {"d": database.documents})
    assert extractor.ordered
    assert [record.text for record in extractor.extract("d", after="a")] == [b'{"_id":"b"}', b'{"_id":"c"}']
    assert extractor.count("d") == 3
    assert extractor.describe_position("d", "b") == str(Place("d.ndjson", 2))
    assert extractor.collections() == ["d"]
    assert extractor.describe().endswith("fixtures")
