"""The external sort is the stable sort, whatever comes and however little it may hold."""

from __future__ import annotations

import tempfile
from heapq import merge
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from migrator.files.sorted_runs import Entry, RunReader, RunWriter, entry_key, is_whole
from migrator.files.sorting import ExternalSorter

# Few different ids, so that equal ones meet across blocks and runs.
IDS = st.sampled_from(["", "a", "aa", "b", "\uffff", "\U0001f600", "k" * 300, "k" * 300 + "l"]) | st.text(
    max_size=3
)
RECORDS = st.lists(st.tuples(IDS, st.binary(max_size=30)), max_size=60)


@settings(deadline=None)
@given(RECORDS, st.integers(1, 3_000), st.integers(2, 5), st.none() | IDS, st.booleans())
def test_the_order_is_that_of_sorted(
    records: list[tuple[str, bytes]], max_memory_bytes: int, max_open_runs: int, after: str | None, keep: bool
) -> None:
    """Ids ascend by their bytes, equal ones stay in their order, and reading may begin after any id."""
    expected = sorted(
        ((id, body) for id, body in records if after is None or id.encode() > after.encode()),
        key=lambda record: record[0].encode(),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sorted"
        sorter = ExternalSorter(path, max_memory_bytes=max_memory_bytes, max_open_runs=max_open_runs, keep=keep)
        for id, body in records:
            sorter.add(id, body)
        assert expected == list(sorter.sorted_items(after))
        sorter.close()
        again = ExternalSorter.reopen(path)
        assert keep is (again is not None)
        if again is not None:
            assert expected == list(again.sorted_items(after))


@settings(deadline=None)
@given(st.lists(RECORDS, max_size=5), st.integers(1, 100), st.none() | IDS)
def test_runs_of_tiny_blocks_are_merged(
    sources: list[list[tuple[str, bytes]]], block_bytes: int, after: str | None
) -> None:
    """Blocks of few bytes, bodies larger than a block, one id over many blocks of many runs."""
    above = None if after is None else after.encode()
    runs: list[list[Entry]] = [
        sorted(((id.encode(), body) for id, body in source), key=entry_key) for source in sources
    ]
    expected = sorted((entry for run in runs for entry in run if above is None or entry[0] > above), key=entry_key)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        readers = []
        for number, run in enumerate(runs):
            writer = RunWriter(folder / f"run-{number}", block_bytes=block_bytes)
            writer.write(run)
            written = writer.finish(durable=False)
            writer.close()
            assert is_whole(folder, written)
            readers.append(RunReader(folder, written))
        merged = merge(*(reader.entries(above) for reader in readers), key=entry_key)
        found = [(key, body if isinstance(body, bytes) else body()) for key, body in merged]
        for reader in readers:
            reader.close()
    assert expected == found
