"""`box:FOLDER`: one file a document, <FOLDER>/<collection>/<hash of the id>.json."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from migrator.config import JobConfig
from migrator.errors import ConfigError
from migrator.model import Batch, Document, Fault, Outcome, Status


def open_box(target: str, config: JobConfig, names: Mapping[str, str], environ: Mapping[str, str]) -> BoxLoader:
    """What the entry point names: TARGET as typed, the whole job, names by collection, the environment."""
    return BoxLoader(Path(target.partition(":")[2]), config.on_conflict)


class BoxLoader:
    """A folder with a folder for each collection."""

    max_in_flight = 1

    def __init__(self, folder: Path, on_conflict: str = "fail") -> None:
        self._folder = folder
        self._on_conflict = on_conflict

    def describe(self) -> str:
        return f"box:{self._folder.resolve()}"

    def target_name(self, collection: str) -> str:
        if not collection or "/" in collection or collection.startswith("."):
            raise ConfigError(f"The collection {collection!r} can be no folder.", hint="Rename it.")
        return collection

    def screen(self, id: str, top_level: Document, body: bytes) -> Fault | None:
        return None

    def prepare(self, collection: str, mark: int | None) -> None:
        (self._folder / self.target_name(collection)).mkdir(parents=True, exist_ok=True)

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
        return [self._write(batch.collection, document.id, document.body) for document in batch.documents]

    def flush(self, collection: str) -> int | None:
        os.sync()
        return None

    def finish(self, collection: str) -> None:
        pass

    def close(self) -> None:
        pass

    def documents(self, collection: str) -> Iterator[dict[str, Any]]:
        """All that is there, for tests."""
        for path in sorted((self._folder / collection).glob("*.json")):
            yield json.loads(path.read_bytes())

    def _write(self, collection: str, id: str, body: bytes) -> Outcome:
        path = self._folder / collection / f"{hashlib.sha256(id.encode()).hexdigest()}.json"
        if path.exists():
            if json.loads(path.read_bytes()) == json.loads(body):
                return Outcome(id, Status.UNCHANGED)
            if self._on_conflict != "overwrite":
                return Outcome(id, Status.REJECTED, "conflict", "other content is there", conflict=True)
        new = path.with_suffix(".new")
        new.write_bytes(body)
        new.replace(path)
        return Outcome(id, Status.WRITTEN)
