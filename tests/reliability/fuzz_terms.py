"""Feeds the compiled part with odd values under the sanitizers for addresses and undefined behaviour.

Each answer must be that of the reference in `migrator.couch.revision`; what no JSON parser makes must be an error.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.compiled import ROOT, build, compiler, load

INTEGERS = [0, 1, 255, 256, -1, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1]
INTEGERS += [2**64 - 1, 2**64, 2**1024 - 2**970 - 1, 2**1024 - 2**970, -(2**1024), 2**1024, 2**1016, 2**4000]
FLOATS = [
    0.0,
    -0.0,
    1.5,
    -1e308,
    5e-324,
    2.2250738585072014e-308,
    2.2250738585072019e-308,
    float("inf"),
    float("nan"),
]
TEXTS = ["", "a", "ä", "😀", "\x00", "\ud800", "x" * 1023, "x" * 1024, "é" * 70_000]
ODD: list[Any] = [
    (),
    b"bytes",
    {1: 2},
    {None: 1},
    1j,
    object(),
    type("Text", (str,), {})("t"),
    [True] * 3,
    {"k": {2}},
]


def value(rng: random.Random, depth: int, odd: float) -> Any:
    """Some value; `odd` is how likely it is one that no JSON parser makes."""
    if rng.random() < odd:
        return rng.choice(ODD)
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
        return [rng.randrange(-1, 260) for _ in range(rng.choice([1, 2, 255, 65_535, 65_536]))]
    if kind == 8:
        return [value(rng, depth - 1, odd) for _ in range(min(size, 9 - depth))]
    return {f"{rng.choice(TEXTS)[:9]}{n}": value(rng, depth - 1, odd) for n in range(min(size, 9 - depth))}


def deep(rng: random.Random, levels: int) -> dict[str, Any]:
    """An object of so many levels."""
    inner: Any = 1
    for _ in range(levels):
        inner = [inner] if rng.random() < 0.5 else {"a": inner}
    return {"deep": inner}


def answer(terms: Callable[[dict[str, Any]], bytes], document: Any) -> bytes | None:
    """What it makes of a document; None for any of the errors that stand for "not certain"."""
    try:
        return terms(document)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def fuzz(path: Path, seconds: float, seed: int) -> int:
    """Compare for so long; how many documents were compared."""
    from migrator.couch.revision import terms

    compiled = load(path).terms
    rng = random.Random(seed)
    until = time.monotonic() + seconds
    done = 0
    while time.monotonic() < until:
        odd = rng.choice([0, 0, 0.02])
        document = {f"k{n}": value(rng, rng.randrange(7), odd) for n in range(rng.randrange(6))}
        if done % 50 == 49:
            document = deep(rng, rng.choice([10, 1_000, 100_000]))
        found, expected = answer(compiled, document), answer(terms, document)
        # What is no JSON value is an error there; the reference does not look so closely.
        assert found == expected or (odd and found is None), (seed, done, repr(document)[:2000])
        done += 1
    for wrong in (None, [], 1, "x", b"", (), object()):
        assert answer(compiled, wrong) is None
    return done


def main() -> None:
    """Build it with the sanitizers, and go on in a process that has them from its start."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--built", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.built:
        print(f"{fuzz(asked.built, asked.seconds, asked.seed):,} documents: no difference, no fault")
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
