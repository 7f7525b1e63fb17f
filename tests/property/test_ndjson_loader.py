"""Whatever happens on the way, an NDJSON file ends as the documents that were loaded."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from migrator.loaders.ndjson import NdjsonLoader
from migrator.model import Batch, EncodedDocument
from tests.support.seeds import examples

LINES = st.lists(st.sampled_from(["1", "2", "22", "é" * 9]), max_size=12)


def run(folder: Path, lines: list[str], sizes: list[int], stops: list[int]) -> None:
    """Load all lines in batches of given sizes; at each stop the process dies, after a flush some batches ago."""
    settled, mark = 0, None
    for stop in [*stops, None]:
        with contextlib.closing(NdjsonLoader(folder, on_conflict="overwrite")) as loader:
            loader.prepare("a", mark)
            position, batches = settled, 0
            while position < len(lines):
                size = sizes[batches % len(sizes)]
                documents = tuple(
                    EncodedDocument("x", line.encode()) for line in lines[position : position + size]
                )
                if batches == stop:
                    break
                loader.load(Batch("a", documents, end=position + size))
                position += size
                batches += 1
                if batches % 2:
                    settled, mark = min(position, len(lines)), loader.flush("a")
            else:
                loader.finish("a")
                if stop is None:
                    return
                # Dead after the end and before the checkpoint knew of it.


@given(
    old=LINES | st.none(),
    lines=LINES,
    sizes=st.lists(st.integers(min_value=1, max_value=4), min_size=1, max_size=3),
    stops=st.lists(st.integers(min_value=0, max_value=4), max_size=3),
    ended=st.booleans(),
)
@settings(max_examples=examples(60))
def test_a_file_is_what_was_loaded(
    old: list[str] | None, lines: list[str], sizes: list[int], stops: list[int], ended: bool
) -> None:
    """Over an old file or none, with any number of deaths on the way, each document is there once, in order."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "a.ndjson"
        if old is not None:
            path.write_text("\n".join(old) + ("\n" if ended and old else ""), encoding="utf-8")
        run(folder, lines, sizes, stops)
        found = path.read_text(encoding="utf-8").split("\n")
        assert [entry.name for entry in folder.iterdir()] == ["a.ndjson"]
    if not found[-1]:
        found.pop()
    assert lines == found
