"""Writes NDJSON, one document a line: a folder with one file per collection, or a stream of one collection."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from migrator.checkpoint.target_guard import NOTHING_THERE
from migrator.config import JobConfig
from migrator.errors import ConfigError
from migrator.files.durable import link_target
from migrator.files.failures import RESUME, write_error
from migrator.files.streams import STDOUT, STREAM, open_output, write_all, writing_to
from migrator.loaders.ndjson_file import NdjsonFile
from migrator.model import Batch, Document, Fault, Loader, Outcome, Status
from migrator.model.capabilities import Traits
from migrator.naming import file_name


class _LinesLoader(Loader):
    """A target of one document a line, which takes one batch after the other."""

    max_in_flight = 1

    def screen(self, id: str, top_level: Document, body: bytes) -> Fault | None:  # noqa: ARG002 (the protocol's)
        """Refuse an empty id; a line can hold everything else."""
        return None if id else Fault("empty_id", "the document has an empty _id")


class NdjsonLoader(_LinesLoader):
    """A folder of `<collection>.ndjson` files.

    What is incomplete is called `<collection>.ndjson.part`, and takes its final name when the collection is
    complete; so no failed run leaves what looks whole. Where the final file is there already, the documents are
    compared with it line by line, and as long as they are equal nothing is written. At the first difference
    `overwrite` makes a new file that replaces the old one at the end; any other policy is an error.

    Args:
        folder: where the files go; made where it is missing.
        on_conflict: `overwrite` to replace files that differ.

    Raises:
        ConfigError: the folder is a file.
    """

    traits = Traits(writes_files=True)

    def __init__(self, folder: str | os.PathLike[str], *, on_conflict: str = "fail") -> None:
        self._folder = Path(folder)
        self._overwrite = on_conflict == "overwrite"
        self._outputs: dict[str, NdjsonFile] = {}
        if self._folder.exists() and not self._folder.is_dir():
            raise ConfigError(
                f"{folder} is a file, not a folder.", hint="Name another folder for the NDJSON files."
            )

    def describe(self) -> str:
        """The absolute path."""
        return os.path.abspath(self._folder)  # noqa: PTH100 (resolve() would follow links, and the name would change)

    def target_name(self, collection: str) -> str:
        """The file's name."""
        return f"{file_name(collection)}.ndjson"

    def survey(self, collection: str) -> int:
        """How many lines the file has; -1 where there is none yet."""
        path = self._folder / self.target_name(collection)
        if not path.exists():
            return -1
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))

    def identity(self, collection: str) -> str | None:
        """Tells a complete file from a later one; "" where there is nothing.

        None while it is being made: then the mark of `flush` tells, and the file itself is looked after.
        """
        path = link_target(self._folder / self.target_name(collection))
        if collection in self._outputs or path.with_name(f"{path.name}.part").exists():
            return None
        try:
            found = path.stat()
        except OSError:
            return NOTHING_THERE
        return f"{found.st_size} {found.st_mtime_ns}"

    def prepare(self, collection: str, mark: int | None) -> None:
        """Open the part, or the existing file for comparing.

        Raises:
            ConfigError: the path is wrong, or the file there is another collection's.
            StorageError: there is no room, or no right to write.
            CheckpointError: the files are not those that the mark was made with.
        """
        name = self.target_name(collection)
        path = self._folder / name
        instead = "write to another folder"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if path.exists() and name not in os.listdir(self._folder):  # noqa: PTH208 (names are all it takes)
                raise ConfigError(
                    f"{path} and another file in its folder differ in upper and lower case only, which is one "
                    "file on this file system.",
                    hint="Write to another folder, or rename one of the collections.",
                )
            if path.is_dir():
                raise ConfigError(f"{path} is a folder.", hint="Remove it, or write to another folder.")
            output = NdjsonFile(path, overwrite=self._overwrite)
            output.open(mark)
        except OSError as error:
            raise write_error(error, error.filename or path, instead=instead, again=RESUME) from error
        self._outputs[collection] = output

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:  # noqa: ARG002 (the protocol's)
        """Append the documents, or find them equal. The same batch once more changes nothing.

        Raises:
            ConfigError: the existing file differs, and may not be replaced.
            EndpointError: the disk is full or fails; nothing of the batch stays in the part.
        """
        return self._outputs[batch.collection].load(batch)

    def flush(self, collection: str) -> int | None:
        """Put the part on disk; the mark of what `load` has answered for. None when the collection is finished."""
        output = self._outputs.get(collection)
        return output.flush() if output else None

    def finish(self, collection: str) -> None:
        """Give the part its final name; leave an equal file as it is.

        Raises:
            ConfigError: the existing file has more than the source, and may not be replaced.
        """
        self._outputs[collection].finish()
        del self._outputs[collection]

    def close(self) -> None:
        """Close the files; parts stay parts."""
        for output in self._outputs.values():
            output.close()
        self._outputs.clear()


class StreamLoader(_LinesLoader):
    """A target that is written once, from its beginning to its end, and cannot be looked at.

    Args:
        target: `-` for standard output, or the path of a pipe, FIFO or device.
    """

    traits = Traits(repeatable=False)

    def __init__(self, target: str) -> None:
        self._target = target
        self._name = STDOUT if target == STREAM else target
        self._collection: str | None = None
        self._file: BinaryIO | None = None

    def describe(self) -> str:
        """The stream."""
        return self._target

    def target_name(self, collection: str) -> str:
        """The stream's own.

        Raises:
            ConfigError: another collection goes there.
        """
        if self._collection not in {None, collection}:
            name = self._name[:1].upper() + self._name[1:]
            raise ConfigError(
                f"{name} takes one collection, not both {self._collection} and {collection}.",
                hint="Choose one with --collection NAME, or name a folder with --to.",
            )
        self._collection = collection
        return self._name

    def prepare(self, collection: str, mark: int | None) -> None:  # noqa: ARG002 (the protocol's)
        """Open the stream.

        Raises:
            StorageError: it cannot be opened.
        """
        if self._file is not None:
            return
        with writing_to(self._target, instead="a folder"):
            self._file = open_output(self._target)

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:  # noqa: ARG002 (the protocol's)
        """Write the documents.

        Raises:
            StorageError: the reader has gone, or the disk behind the stream is full.
        """
        assert self._file is not None
        with writing_to(self._target, instead="a folder"):
            write_all(self._file, b"".join([document.body + b"\n" for document in batch.documents]))
        return [Outcome(document.id, Status.WRITTEN) for document in batch.documents]

    def close(self) -> None:
        """Close the stream; standard output stays open for others."""
        if self._file is not None:
            self._file.close()
            self._file = None


def open_target(
    target: str, config: JobConfig, _names: Mapping[str, str], _environ: Mapping[str, str] | None
) -> Loader:
    """The target that a TARGET names."""
    return NdjsonLoader(target, on_conflict=config.on_conflict)


def open_pipe(
    target: str, config: JobConfig, _names: Mapping[str, str], _environ: Mapping[str, str] | None
) -> Loader:
    """The stream that a TARGET names.

    Raises:
        ConfigError: the job goes on from an earlier one.
    """
    if config.resume:
        raise ConfigError(
            "What is written to a pipe cannot be taken up again.", hint="Leave --resume out, or name a folder."
        )
    return StreamLoader(target)
