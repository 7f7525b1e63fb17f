"""Reads NDJSON: one document a line, one file or a folder with one file per collection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from migrator.config import JobConfig
from migrator.errors import CheckpointError
from migrator.extractors.base import FileExtractor, after_scheme, chosen, parse_position, read_cheaply
from migrator.extractors.find import find_files
from migrator.extractors.lines import BLOCK_BYTES, BOM, MAX_LINE_BYTES, TextFile, read_lines
from migrator.extractors.remote import AnyPath, FilePath, file_path, located
from migrator.model import Extractor, Fault, Position, Record

_SUFFIXES = tuple(f"{kind}{packing}" for kind in (".ndjson", ".jsonl") for packing in ("", ".gz", ".zst"))
_CALLED_JSON = (".json", ".json.gz", ".json.zst")
_MAX_COUNTED_BYTES = 50_000_000
_BLANK = b" \t\r"


class NdjsonExtractor(FileExtractor):
    """A folder of `<collection>.ndjson` files, or one such file; `.jsonl`, `.gz` and `.zst` too.

    Lines are handed on unparsed; one that is too long becomes a Fault without being held. A position is
    `<offset after the line>:<line number>`.

    Args:
        path: the folder or file. A file's name is its collection's, percent-encoded (see `naming.file_name`).
        collections: which to read, in this order; all, sorted by name, where None.
        called_json: the file is called `.json`, though it has one document a line.
        any_name: a single file may have any name.

    Raises:
        ConfigError: nothing is there, or not what is expected.
    """

    def __init__(
        self,
        path: AnyPath,
        *,
        collections: Sequence[str] | None = None,
        called_json: bool = False,
        any_name: bool = False,
    ) -> None:
        suffixes = _SUFFIXES + _CALLED_JSON if called_json else _SUFFIXES
        found = file_path(path)
        files = find_files(found, suffixes, any_name=any_name, kind="NDJSON", note=_called_json)
        super().__init__(found, files, collections)

    def count(self, collection: str) -> int | None:
        """The number of lines; None for a file that is large, packed or elsewhere."""
        path = self._files[collection]
        if not read_cheaply(path) or path.stat().st_size > _MAX_COUNTED_BYTES:
            return None
        count = 0
        last = b"\n"
        with TextFile(path) as file:
            while block := file.read(BLOCK_BYTES):
                count += block.count(b"\n")
                last = block[-1:]
        return count + (last != b"\n")

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
                    hint="Put the old file back, or start over with --restart.",
                )
            for offset, number, line in read_lines(file, start=start, max_line_bytes=MAX_LINE_BYTES):
                if line is None:
                    reason = f"{path}:{number}: the line is longer than {MAX_LINE_BYTES} bytes"
                    yield Record(f"{offset}:{number}", fault=Fault("line_too_long", reason))
                    continue
                # Blank lines and a byte order mark are looked for only where a line begins like no document.
                if line[:1] != b"{":
                    if number == 1:
                        line = line.removeprefix(BOM)  # noqa: PLW2901 (a second name costs every line)
                    if not line.strip(_BLANK):
                        continue
                yield Record(f"{offset}:{number}", None, line)


def _called_json(entries: Sequence[FilePath]) -> str:
    called = [entry for entry in entries if entry.name.lower().endswith(_CALLED_JSON)]
    return f" Give {called[0]} itself, or call it .ndjson if it has one document a line." if called else ""


def open_source(source: str, config: JobConfig, environ: Mapping[str, str]) -> Extractor:
    """The source that a SOURCE names."""
    path = after_scheme(source, "ndjson")
    place = located(path, config, environ)
    return NdjsonExtractor(place, collections=chosen(config), any_name=path != source)
