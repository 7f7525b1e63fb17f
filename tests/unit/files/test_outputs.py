"""Streams that documents are written to: all of it, and what to say where that cannot be."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest

from migrator.errors import ConfigError, StorageError
from migrator.files.streams import write_all, writing_to
from migrator.jobs.piped import refuse_pipe
from migrator.loaders.ndjson import StreamLoader


class Narrow(io.RawIOBase):
    """Takes three bytes at a time, as a pipe may when a signal comes."""

    def __init__(self) -> None:
        self.taken = b""

    def write(self, data: Any) -> int:
        """Take the beginning."""
        part = bytes(data)[:3]
        self.taken += part
        return len(part)


@pytest.mark.parametrize("data", [b"", b"ab", b"abc", b'{"_id":"a"}\n'])
def test_all_is_written_whatever_is_taken_at_once(data: bytes) -> None:
    """Nothing is lost where an output takes less than it is given."""
    narrow = Narrow()
    write_all(narrow, data)  # type: ignore[arg-type] # a raw file, as an output is
    assert narrow.taken == data


@pytest.mark.parametrize(
    ("number", "why"), [(errno.EPIPE, "its reader has gone"), (errno.ENOSPC, os.strerror(errno.ENOSPC))]
)
def test_the_stream_is_named_as_it_was_typed(number: int, why: str) -> None:
    """Upper and lower case too, and standard output in words."""
    for target, shown in (("/tmp/Sink", "/tmp/Sink"), ("-", "Standard output")):
        with pytest.raises(StorageError) as caught, writing_to(target, instead="a folder"):
            raise OSError(number, os.strerror(number))
        assert caught.value.message == f"{shown} cannot be written: {why}."
        assert "name a folder with --to" in str(caught.value)


def test_a_stream_that_cannot_be_is_named_as_it_was_typed(tmp_path: Path) -> None:
    """A path is not a sentence."""
    pipe = tmp_path / "Sink"
    os.mkfifo(pipe)
    loader = StreamLoader(str(pipe))
    loader.target_name("a")
    with pytest.raises(ConfigError, match=f"^{pipe} takes one collection, not both a and b"):
        loader.target_name("b")
    with pytest.raises(ConfigError, match=f"^{pipe} can be read once only, and so on"):
        refuse_pipe(str(pipe), "so on")
