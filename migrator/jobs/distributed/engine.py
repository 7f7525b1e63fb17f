"""Divides a job into splits, and has Dask Distributed move them, which only this module knows.

Splits are collections, and where the source can, ranges of keys or of a file's bytes. Dask decides where one runs,
and tries again what failed. A worker was started in another folder than the command, so the job's files get names
that mean the same to it.
"""

from __future__ import annotations

import contextlib
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from migrator.config import JobConfig
from migrator.config.kinds import ENDINGS
from migrator.errors import ConfigError, EndpointError
from migrator.files.streams import is_stream
from migrator.files.urls import file_url
from migrator.jobs.open import OpenJob
from migrator.jobs.piped import refuse_pipe
from migrator.jobs.registry import scheme_of, target_text
from migrator.jobs.splits import Split
from migrator.model import Extractor, Position
from migrator.model.capabilities import Divisible
from migrator.plugins import extra

# A smaller split is not worth its own checkpoint and its turn.
MIN_DOCUMENTS = 5_000
_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)([^/].*)", re.IGNORECASE)
STOP_FILE = "stop"
SCHEME = "dask://"
TOPIC = "migrator"
RETRIES = 3
CONNECT_TIMEOUT_S = 20
LOOK_S = 0.1
LOST = frozenset({"lost", "pending"})
RESULT_S = 5.0


class SplitFailed(Exception):
    """A split failed in a way that may pass: the engine tries again. It crosses processes, so it holds texts."""


class DaskEngine(contextlib.AbstractContextManager["DaskEngine"]):
    """The workers of one scheduler.

    Args:
        address: `dask://host:8786`; also `dask://tls://host:8786`.
        heard: takes what workers tell.

    Raises:
        ConfigError: the address is none, or the extra is missing.
        EndpointError: no scheduler or no worker answers.
    """

    def __init__(self, address: str, heard: Callable[[Any], None]) -> None:
        if not address.startswith(SCHEME) or len(address) == len(SCHEME):
            raise ConfigError(
                f"The executor {address!r} is none that is known.", hint="Write --executor dask://scheduler:8786"
            )
        with extra("dask", what="--executor dask://"):
            import distributed  # an extra
        self.address = address.removeprefix(SCHEME)
        # Its types are half there.
        self._distributed: Any = distributed
        try:
            self._client = self._distributed.Client(self.address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise EndpointError(
                f"No Dask scheduler answers at {self.address} ({type(error).__name__}).",
                hint="Start one with: dask scheduler",
            ) from None
        try:
            self._client.wait_for_workers(1, timeout=CONNECT_TIMEOUT_S)
        except TimeoutError:
            self._client.close()
            raise EndpointError(
                f"The scheduler at {self.address} has no workers.",
                hint=f"Start one with: dask worker {self.address}",
            ) from None
        self._topic = f"{TOPIC}-{uuid.uuid4().hex}"
        self._client.subscribe_topic(self._topic, lambda event: heard(event[1]))

    def workers(self) -> int:
        """How many threads there are on all workers."""
        return sum(self._client.nthreads().values())

    def move(
        self, config: Mapping[str, Any], splits: Sequence[Mapping[str, Any]], folder: str
    ) -> Iterator[dict[str, Any]]:
        """Have all splits moved, and yield the end of each, with its error where there is one.

        Where no worker is left, for as long as the job bears an outage or when it is to stop, the rest has failed.
        """
        run = uuid.uuid4().hex
        futures = {
            self._client.submit(
                _moved,
                dict(config),
                dict(split),
                folder,
                self._topic,
                key=f"migrator-{run}-{split['number']}",
                pure=False,
                retries=RETRIES,
            ): split["number"]
            for split in splits
        }
        patience_s = float(config["max_outage_s"])
        stop = Path(folder) / STOP_FILE
        for end in self._ends(futures, patience_s, stop):
            if end is None:
                kind = "Interrupted" if stop.exists() else "EndpointError"
                message = f"The scheduler at {self.address} has no workers any more."
                hint = f"Start one with: dask worker {self.address}; then go on with --resume."
                yield {"number": -1, "error": [kind, message, hint]}
                return
            yield end

    def _ends(self, futures: Mapping[Any, int], patience_s: float, stop: Path) -> Iterator[dict[str, Any] | None]:
        """Yield the end of each split when it is there; None, and no more, when nobody is there to end them."""
        waiting = self._distributed.as_completed(futures, loop=self._client.loop)
        seen = time.monotonic()
        while not waiting.is_empty():
            ends = []
            for future in waiting.next_batch(block=False):
                end = self._end(future, futures[future])
                if end is None:
                    # It went with the worker that held it, and the scheduler has it made again.
                    waiting.add(future)
                else:
                    ends.append(end)
            yield from ends
            if ends:
                continue
            time.sleep(LOOK_S)
            if self._has_workers():
                seen = time.monotonic()
            elif stop.exists() or time.monotonic() - seen > patience_s:
                yield None
                return

    def _end(self, future: Any, number: int) -> dict[str, Any] | None:
        """What became of a split; None where it is not there any more."""
        status = future.status
        if status in LOST:
            return None
        if status == "finished":
            try:
                # Its worker can be killed just now; then this would wait until another one has made it.
                result: dict[str, Any] = future.result(timeout=RESULT_S)
            except TimeoutError:
                return None
            return result
        error = future.exception(timeout=RESULT_S) if status == "error" else None
        if isinstance(error, SplitFailed):
            return {"number": number, "error": list(error.args)}
        words = f"{type(error).__name__}: {error}"[:500] if error else status
        message = f"Split {number} was given up by the workers: {words}."
        hint = "Look at the workers' logs (they may need more memory), then go on with --resume."
        return {"number": number, "error": ["EndpointError", message, hint]}

    def _has_workers(self) -> bool:
        # Whether the scheduler itself is there is told by the futures.
        with contextlib.suppress(OSError):
            return self.workers() > 0
        return True

    def __exit__(self, *_: object) -> None:
        self._client.close()


def _moved(config: Mapping[str, Any], split: Mapping[str, Any], folder: str, topic: str) -> dict[str, Any]:
    from distributed import get_worker  # an extra

    from migrator.jobs.distributed.worker import move_split  # which imports this

    worker = get_worker()
    return move_split(config, split, folder, lambda message: worker.log_event(topic, message))


def divide(job: OpenJob, source: Extractor, wanted: int) -> list[Split]:
    """Divide a job into about so many splits of about one size; for a folder, each collection is one.

    Args:
        job: the job, open.
        source: its source without wrappers.
        wanted: how many.
    """
    sizes = {name: _size(source, name) for name in job.collections}
    whole = sum(sizes.values()) or 1
    splits: list[Split] = []
    for name in job.collections:
        parts = round(wanted * sizes[name] / whole)
        bounds: Sequence[Position] = ()
        if job.loader.traits.couchdb and parts > 1 and isinstance(source, Divisible):
            bounds = source.bounds(name, parts, MIN_DOCUMENTS)
        edges = [None, *bounds, None]
        for lower, upper in pairwise(edges):
            splits.append(Split(len(splits), name, job.names[name], lower, upper))
    return splits


def _size(source: Extractor, name: str) -> int:
    return source.size(name) if isinstance(source, Divisible) else source.count(name) or 1


def everywhere(config: JobConfig, environ: Mapping[str, str] | None) -> JobConfig:
    """The job with its source, target and TLS files named from the root, and with the target that is meant.

    Args:
        config: the job as it was typed.
        environ: the environment of the command, which may name the target; the process's own by default.
    """
    refuse_pipe(config.source, "each worker of --executor reads it")
    if is_stream(config.target):
        raise ConfigError(f"Workers cannot write to {config.target}.", hint="Name a server or a folder with --to.")
    return replace(
        config,
        source=from_root(config.source),
        target=from_root(target_text(config, environ)),
        ca_file=_path(config.ca_file),
        client_cert=_path(config.client_cert),
        client_key=_path(config.client_key),
    )


def from_root(text: str) -> str:
    """A SOURCE or TARGET whose path, if it has one, begins at the root.

    >>> from_root("http://localhost:5984"), from_root("csv:/data/a.csv?delimiter=;")
    ('http://localhost:5984', 'csv:/data/a.csv?delimiter=;')
    """
    if Path(text).exists():
        # As everywhere, a file goes before a scheme.
        return _path(text)
    scheme, _, rest = text.partition(":")
    if file_url(text):
        return text
    if scheme.lower() in ENDINGS:
        return f"{scheme}:{_path(rest)}"
    if found := _SQLITE.fullmatch(text):
        return found[1] + _path(found[2])
    return text if scheme_of(text) else _path(text)


def _path(text: str) -> str:
    # Put before it and no more: links stay, and so does whatever stands after a question mark.
    return f"{Path.cwd()}/{text}" if text and not text.startswith("/") else text
