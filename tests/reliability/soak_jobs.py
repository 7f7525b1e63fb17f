"""The jobs that the soak runs: each fills one database, and says what is missing there."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from tests import support

MIGRATOR = [sys.executable, "-m", "migrator"]
# So that a fault costs little, and an outage ends.
PATIENCE = ["--timeout", "1.5", "--max-attempts", "6", "--max-outage", "20", "-q"]


def _without_rev(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "_rev"}


@dataclass
class Job:
    """One way to fill a database.

    Args:
        server: the server's URL.
        name: the database that is filled.
        folder: for its files.
        rng: decides what is left open.
        count: how many documents.
    """

    server: str
    name: str
    folder: Path
    rng: random.Random
    count: int
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    rounds_left: int = 0
    requests: ClassVar[int] = 60
    survives_the_sandbox: ClassVar[bool] = True
    # The target's documents have the revisions of the source's.
    keeps_revisions: ClassVar[bool] = False

    @property
    def target(self) -> str:
        """The URL of the database that is filled."""
        return f"{self.server}/{self.name}"

    @property
    def source(self) -> str:
        """The URL of the database that it is filled from, where there is one."""
        return f"{self.server}/{self.name}_source"

    def begin(self) -> None:
        """Make the source."""

    def arguments(self, proxy: str) -> list[str]:
        """The command, but for flags that say how to go on."""
        raise NotImplementedError

    def after(self, code: int) -> str:
        """What is typed after a run that ended so; the flag that goes on, or begins again."""
        return {5: "--resume", 6: "--restart"}.get(code, "--resume")

    def change(self) -> None:
        """Change the source, for one more round."""

    def remove(self) -> None:
        """Leave nothing behind."""
        support.request("DELETE", self.target)
        support.request("DELETE", self.source)

    def lost(self, there: Mapping[str, Mapping[str, Any]]) -> int:
        """How many documents are not there as they should be."""
        found = there if self.keeps_revisions else {id: _without_rev(doc) for id, doc in there.items()}
        return sum(found.get(id) != document for id, document in self.documents.items())

    def made_up(self) -> dict[str, dict[str, Any]]:
        """Documents whose ids are in order, more or less."""
        rng = self.rng
        ids = [f"{n:06}" if rng.random() < 0.5 else f"{n:06}-{rng.getrandbits(64):x}" for n in range(self.count)]
        return {id: {"_id": id, "n": n, "text": "Zoë " * rng.randrange(60)} for n, id in enumerate(ids)}

    def fill_source(self) -> None:
        """Put the documents into the source database."""
        assert support.request("PUT", self.source)[0] in {201, 202}
        self.put(list(self.made_up().values()))

    def put(self, docs: list[dict[str, Any]]) -> None:
        """Put documents into the source database, or deletions, each of them."""
        status, rows = support.request("POST", f"{self.source}/_bulk_docs", {"docs": docs})
        assert status in {201, 202}, (status, rows)
        assert all("rev" in row for row in rows), rows
        for doc, row in zip(docs, rows, strict=True):
            if "_deleted" in doc:
                del self.documents[doc["_id"]]
            else:
                document = {**doc, "_rev": row["rev"]}
                self.documents[doc["_id"]] = document if self.keeps_revisions else _without_rev(document)

    def call(self, *arguments: str) -> None:
        """Prepare something with the command itself, without faults."""
        done = subprocess.run(
            [*MIGRATOR, *arguments], cwd=self.folder, check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{arguments[0]} ended with {done.returncode}: {done.stderr}")


class Load(Job):
    """A folder of NDJSON into a database."""

    def begin(self) -> None:
        """Write the file."""
        self.documents = self.made_up()
        (self.folder / "source").mkdir()
        with (self.folder / "source" / f"{self.name}.ndjson").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(doc, ensure_ascii=False) + "\n" for doc in self.documents.values())

    def arguments(self, proxy: str) -> list[str]:
        """In batches of several sizes."""
        batch = [
            "--batch-docs",
            str(self.rng.choice([10, 50, 500])),
            "--in-flight",
            str(self.rng.choice([1, 4, 8])),
        ]
        return ["run", "--from", "source", "--to", proxy, "--checkpoint", "checkpoint.json", *batch]


class SinceLast(Job):
    """A database into another, and then what changed."""

    def begin(self) -> None:
        """Fill the source."""
        self.fill_source()
        self.rounds_left = 2

    def arguments(self, proxy: str) -> list[str]:
        """Goes on by itself; the source is behind the proxy as well."""
        pair = ["--from", f"{proxy}/{self.name}_source", "--to", f"{proxy}/{self.name}"]
        pair += ["--checkpoint", "checkpoint.json"]
        return ["run", *pair, "--since-last", "--batch-docs", str(self.rng.choice([10, 50, 500]))]

    def after(self, code: int) -> str:
        """Nothing more."""
        return ""

    def change(self) -> None:
        """Change some documents, delete some, and add some."""
        self.rounds_left -= 1
        support.settle(self.server, f"{self.name}_source")
        rows = support.get(f"{self.source}/_all_docs?limit=40")["rows"]
        found = [{"_id": row["id"], "_rev": row["value"]["rev"]} for row in rows]
        docs = [
            doc | ({"changed": self.rounds_left} if n % 4 else {"_deleted": True}) for n, doc in enumerate(found)
        ]
        docs += [{"_id": f"new-{self.rounds_left}-{n}", "n": n} for n in range(40)]
        self.put(docs)


class Restore(Job):
    """A backup into a database."""

    keeps_revisions = True

    def begin(self) -> None:
        """Back the source up."""
        self.fill_source()
        self.call("backup", "--from", self.source, "--to", "backups", "-q")

    def arguments(self, proxy: str) -> list[str]:
        """Goes on by itself."""
        batch = ["--batch-docs", str(self.rng.choice([10, 50, 500])), "--in-flight", str(self.rng.choice([1, 4]))]
        return ["restore", "--from", "backups", "--to", f"{proxy}/{self.name}", *batch]

    def after(self, code: int) -> str:
        """What another database of the name holds is in the way."""
        if code in {2, 6}:
            support.request("DELETE", self.target)
        return ""


class Apply(Job):
    """The plan of a server with one database."""

    # PouchDB Server is another server after each start, by its uuid, so the plan does not fit any more.
    survives_the_sandbox = False
    keeps_revisions = True

    def begin(self) -> None:
        """Make the plan."""
        self.fill_source()
        pair = ["--from", self.server, "--to", self.server, "--database", f"{self.name}_source"]
        mapped = ["--map", f"{self.name}_source={self.name}", "--no-users", "--no-probe"]
        self.call("plan-server", *pair, *mapped, "--output", "plan.json", "-q")

    def arguments(self, proxy: str) -> list[str]:
        """Both sides through the proxy, which is the same server."""
        batch = ["--batch-docs", str(self.rng.choice([10, 50, 500]))]
        return ["apply", "plan.json", "--from", proxy, "--to", proxy, *batch]

    def after(self, code: int) -> str:
        """What another database of the name holds is in the way."""
        if code == 6:
            support.request("DELETE", self.target)
        return super().after(code)


class Seed(Job):
    """Fixtures into a database."""

    requests = 25

    def begin(self) -> None:
        """Write the fixtures."""
        self.documents = self.made_up()
        (self.folder / "fixtures").mkdir()
        with (self.folder / "fixtures" / f"{self.name}.ndjson").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(doc, ensure_ascii=False) + "\n" for doc in self.documents.values())

    def arguments(self, proxy: str) -> list[str]:
        """Goes on by itself."""
        return ["seed", "fixtures", "--to", proxy]

    def after(self, code: int) -> str:
        """Nothing more."""
        return ""


JOBS: Mapping[str, tuple[Callable[..., Job], int]] = {
    "load": (Load, 4_000),
    "since_last": (SinceLast, 1_500),
    "restore": (Restore, 1_500),
    "apply": (Apply, 1_500),
    "seed": (Seed, 1_500),
}
