"""What each page takes for granted before its first command, and what of it cannot be run here, and why.

A page that is not named here takes nothing for granted, and all of its commands end with exit code 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.docs.pages import name_of

# What tells a page's commands whose server it is.
ACCOUNT = r"^export COUCHDB_\S*USER=|^curl\(\) "
S3 = r"^migrator .*\bs3://"
KEY = r"^migrator .*age1…|^age-keygen |^age "
# Why a command is not run by the test of its page. Its words are compared with the command line all the same.
NOT_RUN = {
    r"^pip install ": "would change the environment of the tests; the extras that it names are looked up",
    r"^scripts/(test|lint|demo)\b|^COUCHDB_TEST_URL=\S+ scripts/test": "would run these tests; the file is looked up",
    r"^python -m pytest tests/": "would run these tests",
    r"^mkdocs ": "serves, or builds what test_site.py builds",
    r"^migrator sandbox ": "serves; tests/integration/test_sandbox.py starts it, and the test has a server already",
    ACCOUNT: "the test's server has credentials of its own",
    r"^migrator completion .*~/": "would change the developer's shell; tests/unit/cli/test_completion.py runs it",
    S3: "wants a bucket; docs/nightly-s3.md is typed with one",
    r"^migrator .*cloudantnosqldb|_IAM_API_KEY_FILE=": "wants an account there; tests/integration/test_hosted.py has a stand-in",
    KEY: "wants a key of the reader's own; tests/unit/backup encrypts",
    r"^migrator replicate ": "leaves a job at the server; tests/integration/test_care.py runs it and removes the job",
    r"^migrator secure ": "leaves a user at the server; tests/integration/test_care.py runs it and removes the user",
    r"^docker ": "wants Docker; tests/docs/test_application.py compares its words with the file for compose",
    r"^zstd .*jq": "wants programs that a machine may lack",
    r"^dask ": "serves; tests/integration/test_scaling.py starts a scheduler and workers",
    r"^migrator .* --executor dask:": "wants a scheduler; tests/integration/test_scaling.py has one",
    r"^migrator .*postgresql://": "wants that server; tests/sources/test_sql.py has one",
    r"^(MYSQL_PWD=\S+ )?migrator .*(mysql|mariadb)://": "wants that server; tests/sources/test_mariadb.py has one",
    r"^migrator .*redis://": "wants that server; tests/sources/test_redis.py has one",
    r"^migrator .*dynamodb:": "wants that service; tests/sources/test_dynamodb.py has one",
}


@dataclass(frozen=True)
class Scene:
    """A page's scene.

    Args:
        files: texts by name; one that begins with `#!` can be run, and `bin/` is searched for programs.
        databases: documents by the URL of a database, as the page names it.
        first: commands that have been typed before.
        environ: variables that are set.
        copies: files and folders of the repository that are there.
        modules: folders of the repository with Python modules.
        codes: exit code, or that on CouchDB and that on the sandbox, by a pattern of commands.
        until: what a command that goes on and on says, before Ctrl-C is pressed.
        swap: patterns of the page's text, and what stands for them here.
        not_run: patterns of further commands that cannot be run, with the reason; "" has one run that others do not.
        web: the web server of the page, which gives the files of its folder.
        bucket: the bucket of the page, which is one of an S3 server of the test's own.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    databases: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    first: Sequence[str] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    copies: Sequence[str] = ()
    modules: Sequence[str] = ()
    codes: Mapping[str, int | tuple[int, int]] = field(default_factory=dict)
    until: Mapping[str, str] = field(default_factory=dict)
    swap: Mapping[str, str] = field(default_factory=dict)
    not_run: Mapping[str, str] = field(default_factory=dict)
    web: str = ""
    bucket: str = ""

    def why_not_run(self, command: str) -> str:
        """Why a command is not run, "" where it is."""
        return str(_first({**NOT_RUN, **self.not_run}, command, ""))

    def code_of(self, command: str, *, is_couchdb: bool) -> int:
        """The exit code that a command ends with."""
        code: int | tuple[int, int] = _first(self.codes, command, 0)
        return code if isinstance(code, int) else code[0 if is_couchdb else 1]

    def goes_on_until(self, command: str) -> str:
        """What a command says before it is stopped; "" where it ends by itself."""
        return str(_first(self.until, command, ""))


def _first(patterns: Mapping[str, Any], command: str, otherwise: Any) -> Any:
    return next((value for pattern, value in patterns.items() if re.search(pattern, command)), otherwise)


def scene_of(page: Path) -> Scene:
    """The scene of a page."""
    return SCENES.get(name_of(page), Scene())


def _orders(*names: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"_id": name, "customer": "ada", "total": n, **fields} for n, name in enumerate(names)]


# Stand-ins for programs that a machine may lack: another machine is this one, a bucket a folder. The encryption is age's.
SSH = '#!/bin/sh\nshift\nexec sh -c "$*"\n'
AWS = """\
#!/bin/sh
case $3 in -) cat > "${4##*/}" ;; *) cat "${3##*/}" ;; esac
"""
AGE_KEYGEN = """\
#!/usr/bin/env python
import sys
import pyrage

if sys.argv[1] == "-o":
    with open(sys.argv[2], "x") as file:
        print(pyrage.x25519.Identity.generate(), file=file)
else:
    print(pyrage.x25519.Identity.from_str(open(sys.argv[2]).read().strip()).to_public())
"""
AGE = """\
#!/usr/bin/env python
import sys
import pyrage

*way, key = sys.argv[1:]
text, data = open(key).read().strip(), sys.stdin.buffer.read()
if way == ["-R"]:
    done = pyrage.encrypt(data, [pyrage.x25519.Recipient.from_str(text)])
else:
    done = pyrage.decrypt(data, [pyrage.x25519.Identity.from_str(text)])
sys.stdout.buffer.write(done)
"""
EXPORT = '{"data": {"orders": [{"_id": "o-1", "country": "de", "code": 7, "active": true, "internal": 1}]}}'
LOCAL = "http://localhost:5984"
FIRESTORE = """\
from fake_firestore import MockFirestore
def Client():
    client = MockFirestore()
    client.collection("carts").document("f-1").set({"n": 1})
    return client
"""
PUT = """\
import gzip, sys, fsspec
with fsspec.open(sys.argv[1], "wb") as file:
    file.write(gzip.compress(b'{"_id":"u-1"}'))
"""
ALL_DOCS = '{"total_rows":1,"offset":0,"rows":[\n{"id":"a","key":"a","value":{"rev":"1-967a00dff5e02add41819138abb3284d"},"doc":{"_id":"a","_rev":"1-967a00dff5e02add41819138abb3284d"}}\n]}\n'
TAP = """\
{"type":"SCHEMA","stream":"issues","schema":{"properties":{"id":{"type":"integer"}}},"key_properties":["id"]}
{"type":"RECORD","stream":"issues","record":{"id":1}}
{"type":"STATE","value":{"issues":1}}"""
SQL_AND_PARQUET = """\
import sqlite3
import pyarrow
import pyarrow.parquet

pyarrow.parquet.write_table(pyarrow.table({"n": [1, 2]}), "events.parquet")
with sqlite3.connect("data/app.db") as database:
    database.execute("CREATE TABLE items (id TEXT PRIMARY KEY, n INTEGER)")
    database.execute("INSERT INTO items VALUES ('a', 1)")
"""

APPLICATION = {
    "app/__init__.py": "",
    "app/database.py": "service = {name: {} for name in 'agents deployments users sessions tickets demos'.split()}\n",
}

# Which account the test's server has is its own affair.
NO_ACCOUNT = {
    r"admin:password@": "",
    r"(?m)^COUCHDB_(USER|PASSWORD)=\w+$": "",
    r'COUCHDB_(USER|PASSWORD)="\w+"': r'COUCHDB_\1=""',
    r', "admin", "password"\)': ")",
}

SCENES = {
    "README.md": Scene(),
    "docs/index.md": Scene(files={"export.json": EXPORT}),
    "docs/application.md": Scene(
        files={"google/cloud/firestore.py": FIRESTORE},
        modules=("examples",),
        swap=NO_ACCOUNT,
        not_run={
            "/_replicate ": "leaves a job at the server; tests/docs/test_application.py runs and ends it",
            "dynamodb_service": "wants that service; tests/docs/test_examples.py has one",
        },
        # The page's view of the server lets everybody in, which wants fixing.
        codes={"^migrator doctor ": 4},
    ),
    "docs/backup.md": Scene(
        files={"var/lib/node_exporter/.keep": ""},
        first=(f"migrator backup --quiet --from {LOCAL} --to /var/backups/couchdb",),
        databases={f"{LOCAL}/orders": _orders("o-1", "o-17"), f"{LOCAL}/orders-eu": _orders("o-2")},
        # Every restore of the example has a server to itself.
        swap={
            r"(restore .* --to http://)localhost(:5984 --at) \S+": r"\1a\2 2999-01-01T00:00:00Z",
            r"(restore .* --to http://)localhost(:5984/orders-old .* --at) '2026-11-24 18:00'": r"\1b\2 '2999-01-01 18:00'",
        },
    ),
    "docs/backup-format.md": Scene(
        databases={f"{LOCAL}/orders": _orders("o-1", "o-17")},
        first=(f"migrator backup -q --from {LOCAL} --to - > couchdb.tar", "mkdir place"),
    ),
    "docs/looking-into-backups.md": Scene(
        databases={
            f"{LOCAL}/orders": [
                *_orders("o-1", "o-18"),
                {
                    "_id": "o-17",
                    "customer": "ada",
                    "_attachments": {"note.txt": {"content_type": "text/plain", "data": "bm90ZQ=="}},
                },
            ],
            f"{LOCAL}/orders-eu": _orders("o-2"),
        },
        first=(f"migrator backup --quiet --from {LOCAL} --to /var/backups/couchdb",),
        swap={r"2026-11-2(\d)": r"2999-01-0\1"},
    ),
    "docs/care.md": Scene(
        databases={
            f"{LOCAL}/orders": _orders("o-1"),
            f"{LOCAL}/orders_eu": _orders("o-2"),
            "https://db.example.com/orders": _orders("o-3"),
        },
        # The page's view of the server lets everybody in, which needs fixing.
        codes={"^migrator doctor ": 4},
    ),
    "docs/interchange.md": Scene(
        databases={f"{LOCAL}/source": _orders("o-1"), "http://a:5984/orders": _orders("o-2")},
        files={"all_docs.json": ALL_DOCS},
        first=(
            "gzip -k all_docs.json",
            f"migrator convert --from {LOCAL}/source --to given.backup --format couchbackup > /dev/null",
            "migrator backup --quiet --from http://a:5984 --to /var/backups/couchdb",
        ),
        # A file that is there is not written over, and the page uses one name for several.
        swap={
            "--from orders.backup": "--from given.backup",
            "--at 2026-11-25 --to orders.backup": "--at 2999-01-01 --to again.backup",
        },
    ),
    "docs/good-guest.md": Scene(
        files={"orders.ndjson": '{"_id":"o-1"}\n'}, databases={f"{LOCAL}/invoices": _orders("i-1")}
    ),
    "docs/pipes.md": Scene(
        databases={f"{LOCAL}/orders": _orders("o-1", "o-17")},
        files={"bin/ssh": SSH, "bin/aws": AWS, "bin/age": AGE, "bin/age-keygen": AGE_KEYGEN},
        not_run={S3: "", KEY: ""},
        codes={"< cut.tar$": 4},
    ),
    "docs/plugins.md": Scene(modules=("tests/data/plugin/src",)),
    "docs/reference/configuration.md": Scene(
        files=APPLICATION, environ={"COUCHDB_URL": LOCAL}, copies=("configs",)
    ),
    "docs/reference/exit-codes.md": Scene(files={"export.json": EXPORT}),
    "docs/github-actions.md": Scene(
        files={"tests/fixtures/orders.ndjson": '{"_id":"o-1","total":5}\n'},
        environ={"COUCHDB_URL": LOCAL, "GITHUB_STEP_SUMMARY": "summary.md"},
    ),
    "docs/nightly-s3.md": Scene(
        databases={f"{LOCAL}/orders": _orders("o-1", "o-17")},
        not_run={S3: ""},
        bucket="s3://bucket/couchdb",
    ),
    "docs/rejected.md": Scene(
        files={"letters.ndjson": '{"_id":"a","text":"new"}\n{"_id":"b","__v":1}\n{"_id":"c","text":"hello"}\n'},
        databases={f"{LOCAL}/letters": [{"_id": "a", "text": "old"}]},
    ),
    "docs/remote-files.md": Scene(
        files={
            "orders.ndjson": '{"_id":"o-1"}\n{"_id":"o-2"}\n',
            "users.ndjson": '{"_id":"u-1"}\n',
            "export": "order_no;total\n7;19.90\n",
            "put.py": PUT,
        },
        first=("python put.py s3://bucket/exports/users.ndjson.gz",),
        environ={"SIGNATURE": "1f5a"},
        not_run={S3: ""},
        web="https://files.example.com",
        bucket="s3://bucket/exports",
    ),
    "docs/report.md": Scene(files={"export.json": EXPORT}),
    "docs/resume.md": Scene(
        # The document with __v is a reject until the retry renames the field.
        files={
            "dump/letters.ndjson": '{"_id":"a","__v":1}\n' + "".join(f'{{"_id":"b-{n}"}}\n' for n in range(199))
        },
    ),
    "docs/scheduling.md": Scene(
        databases={"http://a:5984/orders": _orders("o-1", "o-2")},
        files={"var/lib/node_exporter/.keep": ""},
        environ={"COUCHDB_SOURCE_URL": "http://a:5984", "COUCHDB_URL": "http://b:5984"},
        copies=("configs",),
        first=("migrator backup --quiet --from http://a:5984 --to /var/backups/couchdb",),
        # Nobody listens there: a ping that fails changes nothing.
        swap={"https://(hc-ping|hooks.slack).com": "http://127.0.0.1:9"},
    ),
    "docs/seeding.md": Scene(
        files={
            "fixtures/customers/c-1.json": '{"name": "Ada"}',
            "fixtures/orders.ndjson": '{"_id":"o-1","customer":"c-1"}',
        },
        databases={
            "https://prod.example.com/orders": [
                {"_id": f"o-{n}", "customer": f"c-{n % 40}", "name": f"Name {n}", "email": f"{n}@prod.example"}
                for n in range(400)
            ]
        },
        environ={"COUCHDB_URL": LOCAL},
    ),
    "docs/sources.md": Scene(
        files={
            "orders.csv": "order_no,total\n7,19.90\n",
            "exports/prices.csv": "_id;price;born\na;19.90;2024-05-01\n",
            "bin/mongoexport": '#!/bin/sh\necho \'{"_id":{"$oid":"5f5b1c2d3e4f5a6b7c8d9e0f"},"__v":0}\' > orders.json\n',
            "bin/elasticdump": '#!/bin/sh\necho \'{"_index":"orders","_id":"e-1","_source":{"n":1}}\' > orders.json\n',
            "bin/tap-github": f"#!/bin/sh\ncat <<'EOF'\n{TAP}\nEOF\n",
            "make.py": SQL_AND_PARQUET,
            "data/.keep": "",
        },
        first=("python make.py",),
        swap={r"my_source\(\)": "[{'id': 1, 'node_id': 'x'}], table_name='issues', primary_key='id'"},
    ),
    "docs/places.md": Scene(
        databases={"http://localhost:5984/orders": _orders("o-1", "o-2")},
        files={
            "users.ndjson": '{"_id":"u-1"}\n',
            "orders.csv": "_id,customer,total\no-3,c-1,5\n",
            "rejects.ndjson": '{"collection":"orders","id":"o-1","stage":"load","error":"conflict","reason":"",'
            '"document":{"_id":"o-1","total":9}}\n',
        },
    ),
    "docs/sync.md": Scene(
        databases={"http://a:5984/orders": _orders("o-1", "o-2")},
        # The sandbox has no replicator, and is told from a server that has one.
        codes={"--replicate": (0, 2)},
        until={"--follow --checkpoint orders.json$": r"lag_measured +changes=0"},
    ),
    "docs/troubleshooting.md": Scene(
        # The page's view of the server lets everybody in, which needs fixing; and nothing has made a checkpoint.
        codes={"^migrator doctor ": 4, "^migrator status ": 2},
    ),
    "docs/whole-server.md": Scene(
        databases={"http://old:5984/app_orders": _orders("o-1"), "http://old:5984/app_customers": _orders("c-1")},
        # The page's view of the server lets everybody in, which needs fixing; a plan that was done fits no more.
        codes={"^migrator doctor ": 4, "--re(sume|start)": 6},
    ),
}
