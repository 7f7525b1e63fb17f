"""Reads a TOML file: its tables are collections, as the keys of a JSON export are."""

from __future__ import annotations

import io
import tomllib
from collections.abc import Sequence

from migrator.errors import ConfigError
from migrator.extractors.base import absolute, factory
from migrator.extractors.lines import TextFile
from migrator.extractors.memory import MemoryExtractor
from migrator.extractors.remote import AnyPath, RemotePath, file_path

# A TOML file is read as a whole; what people write by hand is far smaller.
MAX_BYTES = 64_000_000


def open_toml(name: AnyPath, collections: Sequence[str] | None = None) -> MemoryExtractor:
    """`[orders.a1]` is the document `a1` of the collection `orders`; each `[[orders]]` has its own `_id`.

    Args:
        name: the file.
        collections: which to read, in this order; all where None.

    Raises:
        ConfigError: there is no such file, it is not TOML, or it holds more than collections.
    """
    path = file_path(name)
    with io.BufferedReader(TextFile(path)) as file:  # type: ignore[type-var] # as in `csv`
        text = file.read(MAX_BYTES + 1)
    if isinstance(path, RemotePath):
        path.close()
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{path} has more than {MAX_BYTES:,} bytes.", hint="Divide it into several files.")
    try:
        data = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.", hint="See toml.io for what TOML is.") from error
    return MemoryExtractor(data, name=str(name), place=absolute(path), collections=collections)


open_source = factory(open_toml, "toml")
