"""A SOURCE that can be read once, such as `-` or a pipe: read from a copy, and called by its own name."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from migrator.config import JobConfig
from migrator.config.kinds import ENDINGS
from migrator.errors import ConfigError, MigratorError
from migrator.files.streams import copied, is_descriptor, is_stream, released, shown, stem_of
from migrator.model import Extractor, Position, Record
from migrator.model.capabilities import Traits
from migrator.naming import file_name
from migrator.pipeline.wrapper import ExtractorWrapper

_NAMED = re.compile(r"(.+?)(\.(?:ndjson|jsonl|json|csv|tsv|parquet|parq)(?:\.gz|\.zst)?)", re.IGNORECASE)
_EXPORT = re.compile(rb'\s*\{\s*"(?:metadata|data)"\s*:\s*\{')
_LOOK_BYTES = 4096


@dataclass(frozen=True)
class Pipe:
    """A source that is a stream: `scheme:stream?options`, with or without the first and the last."""

    scheme: str
    stream: str
    options: str

    @property
    def name(self) -> str:
        """What people and the checkpoint call it."""
        before = f"{self.scheme}:" if self.scheme else ""
        return f"{before}{self.stream}{self.options}"


def pipe_of(source: str) -> Pipe | None:
    """What of a source is a stream; None where it is something else."""
    scheme, colon, rest = source.partition(":")
    scheme = scheme.lower() if colon and scheme.lower() in ENDINGS else ""
    text = rest if scheme else source
    if is_stream(text):
        return Pipe(scheme, text, "")
    path, mark, options = text.partition("?")
    return Pipe(scheme, path, f"{mark}{options}") if mark and is_stream(path) else None


def refuse_pipe(source: str, what: str) -> None:
    """Refuse a stream where a source is read more than once.

    Raises:
        ConfigError: it is one.
    """
    if (pipe := pipe_of(source)) is not None:
        name = shown(pipe.stream)
        raise ConfigError(
            f"{name[:1].upper()}{name[1:]} can be read once only, and {what}.",
            hint="Write it to a file first, and name that file with --from.",
        )


def refuse_second_reading(config: JobConfig) -> None:
    """Refuse a verification at the end of a run that reads or writes what cannot be read a second time.

    Raises:
        ConfigError: it would have to.
    """
    pipe = pipe_of(config.source)
    if pipe is not None and not is_descriptor(pipe.stream):
        refuse_pipe(config.source, "--verify reads it a second time")
    if is_stream(config.target):
        raise ConfigError(
            f"What is written to {config.target} cannot be read back.",
            hint="Leave out --verify, or name a folder.",
        )


def copy_of(config: JobConfig, pipe: Pipe, stopping: threading.Event | None) -> tuple[JobConfig, Path]:
    """The job with a copy in place of the stream. With one --collection, that is the name of what it brings.

    Raises:
        ConfigError: the stream cannot be read, or the job goes on from an earlier reading.
    """
    if config.resume:
        refuse_pipe(config.source, "--resume goes on in the middle of what was read before")
    named = _NAMED.fullmatch(stem_of(pipe.stream))
    stem = config.collection[0] if len(config.collection) == 1 else named[1] if named else stem_of(pipe.stream)
    ending = ENDINGS.get(pipe.scheme) or (named[2] if named else "")
    path = copied(pipe.stream, f"{file_name(stem)}{ending}", stopping=stopping)
    if not ending:
        path = _with_ending(path)
    before = f"{pipe.scheme}:" if pipe.scheme else ""
    return replace(config, source=f"{before}{path}{pipe.options}"), path


def _with_ending(path: Path) -> Path:
    """A copy under a name that tells what it is: an export where it begins as one, else NDJSON."""
    packing = path.suffix if path.suffix in {".gz", ".zst"} else ""
    export = False
    if not packing:
        with path.open("rb") as file:
            export = _EXPORT.match(file.read(_LOOK_BYTES)) is not None
    named = path.with_name(f"{path.name.removesuffix(packing)}{'.json' if export else '.ndjson'}{packing}")
    if not named.exists():
        # Another reader of the same stream may know the copy by its first name.
        named.hardlink_to(path)
    return named


class PipedExtractor(ExtractorWrapper):
    """The extractor of a copy, under the stream's name.

    Args:
        inner: reads the copy.
        name: the stream's, for people and for the checkpoint.
        copy: the file, which is removed by `close`.
    """

    def __init__(self, inner: Extractor, name: str, copy: Path) -> None:
        super().__init__(inner)
        self._name = name
        self._copy = copy

    @property
    def traits(self) -> Traits:
        """As the inner one's, but what was read cannot be read again by a later run."""
        return replace(super().traits, repeatable=False)

    def describe(self) -> str:
        """The stream."""
        return self._name

    def describe_position(self, collection: str, position: Position) -> str:
        """Of the stream."""
        return self._told(super().describe_position(collection, position))

    def collections(self) -> Sequence[str]:
        """As the inner one's."""
        with self._own_name():
            return super().collections()

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """As the inner one's."""
        with self._own_name():
            for record in super().extract(collection, after=after):
                fault = record.fault
                yield (
                    record
                    if fault is None
                    else record._replace(fault=fault._replace(reason=self._told(fault.reason)))
                )

    def close(self) -> None:
        """Remove the copy."""
        super().close()
        released(self._copy)

    @contextlib.contextmanager
    def _own_name(self) -> Iterator[None]:
        """Name the stream in messages in place of its copy."""
        try:
            yield
        except MigratorError as error:
            error.message = self._told(error.message)
            raise

    def _told(self, text: str) -> str:
        return text.replace(str(self._copy), self._name)
