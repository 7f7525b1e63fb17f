"""Sorts documents by id on disk: any number of them, in bounded memory, and kept for a resumed run if asked.

Two sorted sides are walked together by `side_by_side`.
"""

from __future__ import annotations

import contextlib
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from heapq import merge
from pathlib import Path
from typing import Self, TypeVar

from migrator.files.durable import replace_file
from migrator.files.failures import ANOTHER_TMPDIR, writing
from migrator.files.own_json import Damaged, from_json, seal, unseal
from migrator.files.sorted_runs import BLOCK_BYTES, Entry, Run, RunReader, RunWriter, entry_key, is_whole

L = TypeVar("L")
R = TypeVar("R")

MAX_OPEN_RUNS = 64
"""How many runs are read at once; more are merged into fewer first."""

VERSION = 2
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 16_000_000

# What CPython needs for a record in addition to its bytes: a tuple, two bytes objects, a place in a list.
RECORD_OVERHEAD_BYTES = 160
_RUN_NAME = re.compile(r"run-[0-9]{6,}\.sorted", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Manifest:
    """What a kept sort says of itself."""

    version: int
    label: str
    runs: tuple[Run, ...]


class ExternalSorter:
    """Sorts records by the UTF-8 bytes of their ids; records of equal ids keep the order in which they came.

    What does not fit into memory goes to `folder` as compressed runs, which are merged when they are read.

    >>> from tempfile import mkdtemp
    >>> with ExternalSorter(Path(mkdtemp()) / "sorted") as sorter:
    ...     sorter.add("b", b"{}")
    ...     sorter.add("a", b"[]")
    ...     list(sorter.sorted_items())
    [('a', b'[]'), ('b', b'{}')]

    Args:
        folder: a folder of the sorter's own, made if need be. Runs of an unfinished sort in it are removed.
        max_memory_bytes: how much may be held before it is written to a run. One record may be larger.
        max_open_runs: how many runs are read at once.
        keep: leave the finished sort in `folder` when closing, for `reopen`.
        label: what was sorted. A kept sort is only reopened under the same label.
        finished_runs: what `reopen` found in `folder`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_memory_bytes: int = 64_000_000,
        max_open_runs: int = MAX_OPEN_RUNS,
        keep: bool = False,
        label: str = "",
        finished_runs: Sequence[Run] | None = None,
    ) -> None:
        self._folder = folder
        self._max_memory_bytes = max_memory_bytes
        self._max_open_runs = max(2, max_open_runs)
        # While runs are merged there is a block of each, packed and unpacked, and what was merged of them.
        self._block_bytes = min(BLOCK_BYTES, max(1024, max_memory_bytes // (4 * self._max_open_runs)))
        self._keep = keep
        self._label = label
        self._buffer: list[Entry] = []
        self._buffer_bytes = 0
        self._runs = list(finished_runs or ())
        self._run_number = 0
        self._records = sum(run.records for run in self._runs)
        self._finished = finished_runs is not None
        self._closed = False
        if not self._finished:
            with self._on_disk():
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._remove_files()

    @classmethod
    def reopen(cls, folder: Path, *, label: str = "") -> ExternalSorter | None:
        """Take up a finished sort that was kept; None where there is none, or it is damaged, or of another label.

        Every byte is checked, which is far quicker than sorting again.
        """
        runs = _read_manifest(folder, label)
        if runs is None or not all(is_whole(folder, run) for run in runs):
            return None
        return cls(folder, keep=True, label=label, finished_runs=runs)

    def __len__(self) -> int:
        return self._records

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, id: str, body: bytes) -> None:
        """Take one more record.

        Raises:
            StorageError: the disk is full or does not work.
        """
        if self._finished:
            raise ValueError("the sort is finished")
        # Half a surrogate pair has no UTF-8; whoever writes the document will refuse it, and not the sorting.
        key = id.encode(errors="surrogatepass")
        self._buffer.append((key, body))
        self._records += 1
        self._buffer_bytes += len(key) + len(body) + RECORD_OVERHEAD_BYTES
        if self._buffer_bytes >= self._max_memory_bytes:
            self._spill()

    def finish(self) -> None:
        """Say that nothing more comes. From then on a sort that is to be kept survives the process."""
        if self._finished:
            return
        if self._buffer and (self._runs or self._keep):
            self._spill()
        self._buffer.sort(key=entry_key)
        self._merge_to_few()
        if self._keep:
            # The runs are on disk already.
            manifest = _Manifest(VERSION, self._label, tuple(self._runs))
            with self._on_disk():
                replace_file(self._folder / MANIFEST, seal(asdict(manifest)))
        self._finished = True

    def sorted_items(self, after: str | None = None) -> Iterator[tuple[str, bytes]]:
        """Yield ids and bodies in ascending order, from the first id above `after`; as often as one likes.

        Raises:
            MigratorError: a run cannot be read back.
        """
        if self._closed:
            raise ValueError("the sorter is closed")
        self.finish()
        return self._items(None if after is None else after.encode(errors="surrogatepass"))

    def close(self) -> None:
        """Let go of memory and, unless the sort is finished and kept, remove the files."""
        self._closed = True
        self._buffer.clear()
        if not (self._keep and self._finished):
            self.remove()

    def remove(self) -> None:
        """Remove the files, kept or not, and the folder if nothing else lies in it."""
        self._closed = self._finished = True
        self._buffer.clear()
        with self._on_disk():
            self._remove_files()
            with contextlib.suppress(OSError):
                self._folder.rmdir()

    def _on_disk(self) -> contextlib.AbstractContextManager[None]:
        return writing(self._folder, instead=ANOTHER_TMPDIR)

    def _items(self, after: bytes | None) -> Iterator[tuple[str, bytes]]:
        start = 0 if after is None else bisect_right(self._buffer, after, key=entry_key)
        with self._on_disk(), contextlib.ExitStack() as opened:
            entries = self._merged(self._runs, opened, after) if self._runs else iter(self._buffer[start:])
            for key, body in entries:
                yield key.decode(errors="surrogatepass"), body if isinstance(body, bytes) else body()

    def _merged(
        self, runs: Sequence[Run], opened: contextlib.ExitStack, after: bytes | None = None
    ) -> Iterator[Entry]:
        readers = [opened.enter_context(contextlib.closing(RunReader(self._folder, run))) for run in runs]
        return merge(*(reader.entries(after) for reader in readers), key=entry_key)

    def _spill(self) -> None:
        self._buffer.sort(key=entry_key)
        self._runs.append(self._write_run(self._buffer))
        self._buffer = []
        self._buffer_bytes = 0

    def _merge_to_few(self) -> None:
        """Merge neighbouring runs, no more than needed, until all that are left can be read at once."""
        while (excess := len(self._runs) - self._max_open_runs) > 0:
            merged: list[Run] = []
            rest = self._runs
            while rest:
                size = min(self._max_open_runs, excess + 1)
                group, rest = rest[:size], rest[size:]
                merged.append(group[0] if len(group) == 1 else self._merge(group))
                excess -= len(group) - 1
            self._runs = merged

    def _merge(self, group: Sequence[Run]) -> Run:
        with self._on_disk(), contextlib.ExitStack() as opened:
            run = self._write_run(self._merged(group, opened))
        for merged in group:
            (self._folder / merged.name).unlink()
        return run

    def _write_run(self, entries: Iterable[Entry]) -> Run:
        self._run_number += 1
        path = self._folder / f"run-{self._run_number:06}.sorted"
        with self._on_disk():
            writer = RunWriter(path, block_bytes=self._block_bytes)
            try:
                writer.write(entries)
                return writer.finish(durable=self._keep)
            finally:
                writer.close()

    def _remove_files(self) -> None:
        # The manifest first: without it the runs are nothing.
        for name in (MANIFEST, f".{MANIFEST}.tmp", f"{MANIFEST}.tmp"):
            (self._folder / name).unlink(missing_ok=True)
        for path in self._folder.iterdir() if self._folder.exists() else ():
            if _RUN_NAME.fullmatch(path.name):
                path.unlink()


def side_by_side(
    left: Iterator[tuple[str, L]], right: Iterator[tuple[str, R]]
) -> Iterator[tuple[str, L | None, R | None]]:
    """Both sides by key; None where one side has nothing of it.

    Of several equal keys on one side the first meets the other side's first, and so on.

    Args:
        left: in ascending order of the keys: of their characters, which is the order of their UTF-8 bytes too.
        right: in the same order.
    """
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            yield one[0], one[1], None
            one = next(left, None)
        elif one is None or other[0] < one[0]:
            yield other[0], None, other[1]
            other = next(right, None)
        else:
            yield one[0], one[1], other[1]
            one, other = next(left, None), next(right, None)


def _read_manifest(folder: Path, label: str) -> list[Run] | None:
    path = folder / MANIFEST
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            return None
        value, sealed = unseal(path.read_bytes())
        manifest = from_json(_Manifest, value)
    except (OSError, Damaged, TypeError):
        return None
    # A name from elsewhere must not lead out of the folder.
    names_fit = all(_RUN_NAME.fullmatch(run.name) for run in manifest.runs)
    ours = sealed and names_fit and (manifest.version, manifest.label) == (VERSION, label)
    return list(manifest.runs) if ours else None
