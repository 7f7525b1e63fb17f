"""`ini:FILE`: the file is a collection's folder of sections; each section is a document, in its `json` option."""

from __future__ import annotations

import configparser
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from migrator.config import JobConfig
from migrator.errors import ConfigError
from migrator.model import Fault, Position, Record


def open_ini(source: str, config: JobConfig, environ: Mapping[str, str]) -> IniExtractor:
    """What the entry point names: SOURCE as typed, the whole job, the environment."""
    return IniExtractor(Path(source.partition(":")[2]), config.collection or None)


class IniExtractor:
    """A folder of <collection>.ini files. A position is how many sections were read."""

    ordered = False

    def __init__(self, folder: Path, collections: Sequence[str] | None = None) -> None:
        self._folder = folder
        found = sorted(path.stem for path in folder.glob("*.ini"))
        for name in collections or ():
            if name not in found:
                raise ConfigError(f"There is no file {folder / name}.ini.", hint="Look at --collection.")
        self._collections = list(found if collections is None else collections)

    def describe(self) -> str:
        return f"ini:{self._folder.resolve()}"

    def collections(self) -> Sequence[str]:
        return self._collections

    def count(self, collection: str) -> int | None:
        return None

    def identity(self, collection: str) -> str:
        return str(self._path(collection).stat().st_size)

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        parser = configparser.RawConfigParser(default_section="")
        parser.read(self._path(collection), encoding="utf-8")
        for number, section in enumerate(parser.sections(), 1):
            if number <= int(after or 0):
                continue
            try:
                yield Record(number, text=parser.get(section, "json").encode())
            except configparser.NoOptionError:
                fault = Fault("no_json", f"{self._path(collection)} [{section}]: there is no option json", section)
                yield Record(number, fault=fault)

    def close(self) -> None:
        pass

    def _path(self, collection: str) -> Path:
        return self._folder / f"{collection}.ini"


def write_ini(folder: Path, name: str, documents: Sequence[Mapping[str, Any]]) -> None:
    """The inverse, for tests."""
    sections = [f"[{number}]\njson = {json.dumps(document)}\n" for number, document in enumerate(documents)]
    (folder / f"{name}.ini").write_text("".join(sections), encoding="utf-8")
