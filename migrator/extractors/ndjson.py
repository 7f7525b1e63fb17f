"""Reads NDJSON: one document a line, one file or a folder with one file per collection."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from migrator.errors import CheckpointError, ConfigError
from migrator.extractors.file_ranges import dividing_positions, parse_position, up_to
from migrator.extractors.lines import BLOCK_BYTES, MAX_LINE_BYTES, TextFile, file_identity, is_packed, read_lines
from migrator.extractors.selection import select_collections
from migrator.model import Fault, Position, Record
from migrator.naming import collection_name, shown

_SUFFIXES = tuple(f"{kind}{packing}" for kind in (".ndjson", ".jsonl") for packing in ("", ".gz", ".zst"))
_CALLED_JSON = (".json", ".json.gz", ".json.zst")
_EXPECTED = f"<collection>{', '.join(_SUFFIXES)}"
_MAX_COUNTED_BYTES = 50_000_000
_BLANK = b" \t\r"
_BOM = b"\xef\xbb\xbf"


class NdjsonExtractor:
    """A folder of `<collection>.ndjson` files, or one such file; `.jsonl`, `.gz` and `.zst` too.

    Lines are handed on unparsed. A position is `<offset behind the line>:<line number>`.

    Args:
        path: the folder or file. A file's name is its collection's, percent-encoded (see `naming.file_name`).
        collections: which to read, in this order; all, sorted by name, where None.
        max_line_bytes: a longer line becomes a Fault, without being held in memory.
        called_json: the file is called `.json`, though it has one document a line.
        any_name: a single file may have any name.

    Raises:
        ConfigError: nothing is there, or not what is expected.
    """

    ordered = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        collections: Sequence[str] | None = None,
        max_line_bytes: int = MAX_LINE_BYTES,
        called_json: bool = False,
        any_name: bool = False,
    ) -> None:
        self._path = Path(path)
        self._max_line_bytes = max_line_bytes
        suffixes = _SUFFIXES + _CALLED_JSON if called_json else _SUFFIXES
        self._files = _find_files(self._path, suffixes, any_name=any_name)
        self._collections = select_collections(tuple(self._files), collections, source=self.describe())

    def describe(self) -> str:
        """The absolute path."""
        return os.path.abspath(self._path)  # noqa: PTH100 (resolve() would follow links, and the name would change)

    def collections(self) -> Sequence[str]:
        """The names of the collections, sorted where none were chosen."""
        return self._collections

    def count(self, collection: str) -> int | None:
        """The number of lines; None for a large or packed file."""
        path = self._files[collection]
        if is_packed(path) or path.stat().st_size > _MAX_COUNTED_BYTES:
            return None
        count = 0
        last = b"\n"
        with TextFile(path) as file:
            while block := file.read(BLOCK_BYTES):
                count += block.count(b"\n")
                last = block[-1:]
        return count + (last != b"\n")

    def identity(self, collection: str) -> str:
        """The file's size and a hash of its ends."""
        return file_identity(self._files[collection])

    def describe_position(self, collection: str, position: Position) -> str:
        """Name the line that was read last, as `file:line`."""
        return f"{self._files[collection]}:{str(position).rpartition(':')[2]}"

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """Yield a record for each line that is not blank.

        Raises:
            CheckpointError: the file is not the one that `after` was taken from.
            ConfigError: the file is damaged.
        """
        path = self._files[collection]
        start = (0, 0) if after is None else parse_position(after)
        with TextFile(path, offset=max(0, start[0] - 1)) as file:
            if start[0] and file.read(1) != b"\n" and file.read(1):
                raise CheckpointError(
                    f"{path} is not the file that the checkpoint was made with: no line ends at byte {start[0]}.",
                    hint="Put the old file back, or start anew with --restart.",
                )
            for offset, number, line in read_lines(file, start=start, max_line_bytes=self._max_line_bytes):
                if line is None:
                    yield Record(f"{offset}:{number}", fault=self._too_long(path, number))
                    continue
                # Blank lines and a byte order mark are looked for only where a line begins like no document.
                if line[:1] != b"{":
                    if number == 1:
                        line = line.removeprefix(_BOM)  # noqa: PLW2901 (a second name costs every line)
                    if not line.strip(_BLANK):
                        continue
                yield Record(f"{offset}:{number}", None, line)

    def size(self, collection: str) -> int:
        """The file's size."""
        return self._files[collection].stat().st_size

    def bounds(self, collection: str, parts: int, min_rows: int) -> list[str]:
        """Positions at lines' ends that divide a plain file into about so many parts; none for a packed one.

        The file is read once, as each position tells its line's number.
        """
        path = self._files[collection]
        if is_packed(path):
            return []
        with TextFile(path) as file:
            lines = read_lines(file, max_line_bytes=self._max_line_bytes)
            ends = ((offset, number) for offset, number, _ in lines)
            return dividing_positions(ends, self.size(collection), parts, min_rows)

    def extract_range(self, collection: str, after: Position | None, upto: Position) -> Iterator[Record]:
        """Yield what comes after one position, up to and with another."""
        return up_to(self.extract(collection, after=after), upto, parse_position)

    def close(self) -> None:
        """Nothing is held open between readings."""

    def _too_long(self, path: Path, number: int) -> Fault:
        return Fault("line_too_long", f"{path}:{number}: the line is longer than {self._max_line_bytes} bytes")


def _find_files(path: Path, suffixes: tuple[str, ...], *, any_name: bool) -> dict[str, Path]:
    if not path.exists():
        raise ConfigError(
            f"There is no file or folder {path}.", hint="Look at the path, and at the folder it starts from."
        )
    if not path.is_dir():
        stem = _stem(path.name, suffixes) or (path.name.partition(".")[0] if any_name else "")
        if not stem:
            raise ConfigError(f"{path} is no NDJSON file by its name.", hint=f"Expected: {_EXPECTED}.")
        return {collection_name(stem): path}
    files: dict[str, Path] = {}
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", hint="Look at its permissions.") from error
    for entry in entries:
        stem = _stem(entry.name, suffixes)
        if not stem or entry.is_dir():
            continue
        if not entry.exists():
            raise ConfigError(
                f"{entry} is a link to a file that is not there.", hint="Mend the link or remove it."
            )
        collection = collection_name(stem)
        other = files.setdefault(collection, entry)
        if other is not entry:
            raise ConfigError(
                f"{other} and {entry} are both files of the collection {shown(collection)}.",
                hint="Remove one of them.",
            )
    if not files:
        unfinished = [entry.name for entry in entries if entry.name.endswith(".part")]
        found = f"; {unfinished[0]} was left by a run that did not finish" if unfinished else ""
        called = [entry for entry in entries if entry.name.lower().endswith(_CALLED_JSON)]
        named = f" Give {called[0]} itself, or call it .ndjson if it has one document a line." if called else ""
        raise ConfigError(f"The folder {path} has no NDJSON file{found}.", hint=f"Expected: {_EXPECTED}.{named}")
    return {collection: files[collection] for collection in sorted(files)}


def _stem(name: str, suffixes: tuple[str, ...]) -> str:
    # Names that begin with a dot are other programs' notes, such as the ._x.ndjson of macOS.
    if name.startswith("."):
        return ""
    for suffix in suffixes:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return ""
