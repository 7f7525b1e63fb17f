"""Files divided so that several processes read them: the ranges have every record once, whatever stands in it."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from migrator.config import JobConfig
from migrator.jobs.registry import open_extractor

ROWS = [
    {"_id": f"k{number}", "text": 'a line\nbreak, a "quote" and é\U0001f600' * (number % 7), "n": str(number)}
    for number in range(400)
]


def as_csv(path: Path) -> str:
    """With line breaks and quotes inside of fields, and a record that is none."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS[:200])
        file.write("too,few\r\n\r\n")
        writer.writerows(ROWS[200:])
    return f"csv:{path}"


def as_lines(path: Path) -> str:
    """With blank lines, and one that is not JSON."""
    lines = [json.dumps(row) for row in ROWS]
    path.write_text("\n".join([*lines[:100], "", "no document", *lines[100:]]))
    return f"mongo:{path}"


def as_list(path: Path) -> str:
    """As with --jsonArray."""
    path.write_text(json.dumps(ROWS, ensure_ascii=False))
    return f"mongo:{path}"


def as_pretty(path: Path) -> str:
    """One object after the other, over several lines each."""
    path.write_text("\n".join(json.dumps({"_index": "i", "_id": r["_id"], "_source": r}, indent=1) for r in ROWS))
    return f"elasticdump:{path}"


def as_parquet(path: Path) -> str:
    """In groups of rows."""
    pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=30)
    return f"parquet:{path}"


def as_ndjson(path: Path) -> str:
    """The plain form."""
    path = path.with_suffix(".ndjson")
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return str(path)


def ranges_of(source: str, parts: int) -> tuple[list[Any], list[list[Any]]]:
    """All records, and those of each range."""
    extractor: Any = open_extractor(JobConfig(source=source, target="unused"))
    (name,) = extractor.collections()
    bounds = json.loads(json.dumps(extractor.bounds(name, parts, 1)))
    found = []
    for lower, upper in pairwise([None, *bounds, None]):
        if upper is None:
            found.append(list(extractor.extract(name, after=lower)))
        else:
            found.append(list(extractor.extract_range(name, lower, upper)))
    records = list(extractor.extract(name))
    extractor.close()
    return records, found


@pytest.mark.parametrize("make", [as_csv, as_lines, as_list, as_pretty, as_parquet, as_ndjson])
@pytest.mark.parametrize("parts", [2, 7])
def test_ranges_add_up(make: Callable[[Path], str], parts: int, tmp_path: Path) -> None:
    """Together they are the file, none is empty, none is most of it; a record that is none is in one of them."""
    records, found = ranges_of(make(tmp_path / "rows.json"), parts)
    assert sum(record.fault is None for record in records) == len(ROWS)
    assert [record for part in found for record in part] == records
    assert len(found) == parts
    assert all(0 < len(part) < len(records) * 2 / parts for part in found)


@pytest.mark.parametrize("make", [as_csv, as_lines, as_list, as_ndjson])
def test_a_packed_file_is_whole(make: Callable[[Path], str], tmp_path: Path) -> None:
    """It can only be read from its beginning, so several would each unpack it all."""
    source = make(tmp_path / "rows.json")
    plain = Path(source.rpartition(":")[2])
    packed = plain.with_name(f"{plain.name}.gz")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    _, found = ranges_of(f"{source}.gz", 4)
    assert [len([record for record in part if record.fault is None]) for part in found] == [len(ROWS)]
