"""Feeds the compiled part with odd texts under the sanitizers for addresses and undefined behaviour.

Each of its answers must be that of the reference in `migrator.couch.revision`, and none where that has none.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from migrator.couch import revision
from tests.support.compiled import ROOT, build, compiler, load
from tests.support.revision_rule import EDGE_INTEGERS

INTEGERS = [
    *EDGE_INTEGERS,
    2**63 - 1,
    2**63,
    -(2**63),
    10**18 - 1,
    10**18,
]
INTEGERS += [2**64, 2**1024 - 2**970 - 1, 2**1024 - 2**970, -(2**1024), 2**4000]
FLOATS = [0.0, -0.0, 1.5, -1e308, 5e-324, 2.2250738585072014e-308, 2.2250738585072019e-308, 1e22, 1e-7]
TEXTS = ["", "a", "ä", "😀", "\x00", "\ud800", "\udc00", '\n"\\/', "x" * 1023, "é" * 70_000]
KEYS = ["_id", "_rev", "_deleted", "_attachments", "_x", "a", "b", "a"]
IDS = ["a", "", "_design/x", "_design/", "_local/x", "_"]
ODD = [
    b"\\u",
    b"\\ud83d",
    b"\\ud83d\\ude00",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc0\x80",
    b"-",
    b"-0",
    b"01",
    b"1.",
]
ODD += [
    b"1e",
    b"1e5",
    b"1E+400",
    b"0e1",
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b'"',
    b" ",
    b"\x00",
    b"nul",
    b"tru",
    b"\\",
    b"NaN",
    b".",
]


def value(rng: random.Random, depth: int) -> Any:
    """Some value."""
    kind = rng.randrange(10 if depth else 7)
    if kind < 2:
        return rng.choice(INTEGERS) if rng.random() < 0.3 else rng.randrange(-300, 300)
    if kind == 2:
        return rng.choice(FLOATS) if rng.random() < 0.3 else rng.uniform(-1e6, 1e6)
    if kind < 5:
        return rng.choice(TEXTS) if rng.random() < 0.3 else "k" * rng.randrange(20)
    if kind < 7:
        return rng.choice([None, True, False])
    size = rng.choice([0, 1, 2, 3, 5, 300])
    if kind == 7:
        return [
            rng.randrange(-1 if rng.random() < 0.3 else 0, 256)
            for _ in range(rng.choice([1, 2, 255, 65_535, 65_536]))
        ]
    if kind == 8:
        return [value(rng, depth - 1) for _ in range(min(size, 9 - depth))]
    return {f"{rng.choice(TEXTS)[:9]}{n}": value(rng, depth - 1) for n in range(min(size, 9 - depth))}


def deep(rng: random.Random, levels: int) -> bytes:
    """The text of an object of so many levels."""
    kinds = [rng.random() < 0.5 for _ in range(levels)]
    begin = b"".join(b"[" if kind else b'{"a":' for kind in kinds)
    return b'{"deep":' + begin + b"1" + b"".join(b"]" if kind else b"}" for kind in reversed(kinds)) + b"}"


def text(rng: random.Random) -> bytes:
    """The text of some document, more often than not a little wrong."""
    if rng.random() < 0.02:
        return deep(rng, rng.choice([10, 1_000, 100_000]))
    document = {f"k{n}": value(rng, rng.randrange(7)) for n in range(rng.randrange(6))}
    document |= {rng.choice(KEYS): rng.choice([*IDS, True, {}, 1]) for _ in range(rng.choice([0, 0, 0, 1, 2]))}
    members = [json.dumps({key: item}, ensure_ascii=rng.random() < 0.5)[1:-1] for key, item in document.items()]
    if members and rng.random() < 0.1:
        members.append(rng.choice(members))
    space = rng.choice(["", " ", "\n\t\r "])
    made = f"{space}{{{(space + ',' + space).join(members)}{space}}}{space}".encode(errors="surrogatepass")
    for _ in range(rng.choice([0, 0, 0, 0, 0, 1, 3])):
        at = rng.randrange(len(made) + 1)
        odd = rng.choice([*ODD, bytes([rng.randrange(256)])])
        made = made[:at] + odd + made[at + rng.choice([0, 0, 1, len(odd)]) :]
    return made[: rng.randrange(len(made) + 1)] if rng.random() < 0.05 else made


def reference(document: bytes) -> tuple[Any, bytes] | None:
    """What the reference makes of a text; None where it is not certain, and of a tombstone."""
    try:
        decoded = revision._decode(document)
        id = decoded.get("_id")
        return None if revision._take_special_fields(decoded) else (id, revision.terms(decoded))
    except ValueError:
        return None


def fuzz(path: Path, seconds: float, seed: int) -> tuple[int, int]:
    """Compare for so long; how many texts were compared, and how many of them it answered by itself."""
    compiled = load(path).read
    rng = random.Random(seed)
    until = time.monotonic() + seconds
    done = answered = 0
    while time.monotonic() < until:
        document = text(rng)
        found = compiled(document, b"", b"")
        if found is not None:
            answered += 1
            assert found == reference(document), (seed, done, document[:2000])
        done += 1
    return done, answered


def main() -> None:
    """Build it with the sanitizers, and go on in a process that has them from its start."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--built", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.built:
        done, answered = fuzz(asked.built, asked.seconds, asked.seed)
        print(f"{done:,} texts, {answered:,} of them answered: no difference, no fault")
        return
    cc = compiler()
    if cc is None:
        sys.exit("There is no C compiler with Python's headers here.")
    print(f"seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        built = build(Path(folder), sanitized=True)
        asan = subprocess.check_output([cc, "-print-file-name=libasan.so"], text=True).strip()
        # Python itself leaves memory at its end.
        environ = {**os.environ, "LD_PRELOAD": asan, "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}
        words = ["--built", str(built), "--seconds", str(asked.seconds), "--seed", str(asked.seed)]
        sys.exit(
            subprocess.call(
                [sys.executable, "-m", "tests.reliability.fuzz_terms", *words],
                cwd=ROOT,
                env={**environ, "PYTHONPATH": str(ROOT)},
            )
        )


if __name__ == "__main__":
    main()
