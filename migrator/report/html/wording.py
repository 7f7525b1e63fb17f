"""Numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping

NOTHING = "\N{EN DASH}"
FATES = ("written", "unchanged", "skipped", "filtered", "rejected")


def number(value: float | None) -> str:
    """Grouped; fractions only where the number is small."""
    if value is None:
        return NOTHING
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 1 else f"{value:.2g}"


def size(count: float | None) -> str:
    """Bytes with the unit that fits."""
    count = count or 0
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{number(count)} {unit}"
        count /= 1000
    raise AssertionError


def duration(seconds: float) -> str:
    """Seconds as hours, minutes and seconds, the two largest."""
    if seconds < 60:
        return f"{number(round(seconds, 3 if seconds < 1 else 1))} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def milliseconds(value: float | None) -> str:
    """A latency."""
    if value is None:
        return NOTHING
    return f"{number(value)} ms" if value < 1000 else duration(value / 1000)


def documents(count: int) -> str:
    """So many documents."""
    return "1 document" if count == 1 else f"{count:,} documents"


def in_words(counts: Mapping[str, int]) -> str:
    """How the documents ended."""
    return ", ".join(f"{counts[word]:,} {word}" for word in FATES if counts[word]) or "nothing"


FILTERS = (number, size, duration, milliseconds, documents, in_words)


def ticks(highest: float, wanted: int = 4) -> list[float]:
    """Round numbers from 0 to at least `highest`."""
    if highest <= 0:
        return [0.0, 1.0]
    rough = highest / wanted
    scale: float = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * scale for factor in (1, 2, 2.5, 5, 10) if factor * scale >= rough * 0.999)
    return [step * place for place in range(math.ceil(highest / step * 0.999) + 1)]


def time_ticks(highest: float, wanted: int = 5) -> list[float]:
    """Moments that people would choose on a clock, from 0 on."""
    seconds = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30)
    steps = (*seconds, *(minutes * 60 for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440)))
    step = next((step for step in steps if highest / step <= wanted), highest / wanted)
    return [step * place for place in range(int(highest / step * 1.001) + 1)]
