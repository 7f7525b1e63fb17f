"""From an Arrow array to Python's values, each on its own: what Python lacks is text or an `Unreadable`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from migrator.extractors.rows import NoId, Unreadable, bad_text, document_id

_NS = 1_000_000_000
_NS_EACH = {"s": _NS, "ms": 1_000_000, "us": 1_000, "ns": 1}
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 Arrow's times without a zone are wall clocks
_DAY_S = 86_400


def values_of(array: pa.Array) -> list[Any]:
    """The values of an array, one for one.

    Times to the microsecond are Python's; one that needs nanoseconds is its text in ISO 8601.
    """
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _plainly(array) or values_of(array.storage)
    if pa.types.is_dictionary(kind):
        words = values_of(array.dictionary)
        return [None if at is None else words[at] for at in array.indices.to_pylist()]
    if pa.types.is_struct(kind):
        return _of_struct(array)
    if pa.types.is_map(kind):
        return _of_map(array)
    if pa.types.is_nested(kind):
        return _of_lists(array)
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        return _of_times(array)
    return _plainly(array) or [_one(scalar) for scalar in array]


def _plainly(array: pa.Array) -> list[Any] | None:
    """As the library gives them; None where it cannot give all."""
    try:
        found: list[Any] = array.to_pylist()
    except Exception:  # noqa: BLE001 whatever it is, each value is looked at on its own then
        return None
    return found


def _one(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        return bad_text(error.object)
    except Exception as error:  # noqa: BLE001 one value is at fault, whatever the library says of it
        return Unreadable("invalid_value", f"a value of {scalar.type} that Python lacks: {error}", _shown(scalar))


def _shown(scalar: pa.Scalar) -> str:
    try:
        return str(scalar.cast("string").as_py())
    except Exception:  # noqa: BLE001 not every type has a text
        return str(getattr(scalar, "value", ""))


def _of_struct(array: pa.StructArray) -> list[Any]:
    names = [field.name for field in array.type]
    twice = [name for name in names if names.count(name) > 1]
    there = array.is_valid().to_pylist()
    if twice:
        fault = Unreadable("invalid_value", f"two fields are called {twice[0]!r:.80}, of which one would be lost")
        return [fault if valid else None for valid in there]
    columns = [values_of(child) for child in array.flatten()]
    return [
        {name: column[number] for name, column in zip(names, columns, strict=True)} if valid else None
        for number, valid in enumerate(there)
    ]


def _of_lists(array: pa.Array) -> list[Any]:
    try:
        lengths = [length or 0 for length in pc.list_value_length(array).to_pylist()]
        inner = iter(values_of(array.flatten()))
    except (pa.ArrowException, AttributeError):
        # A nested type other than the lists, such as a union.
        return _plainly(array) or [_one(scalar) for scalar in array]
    there = array.is_valid().to_pylist()
    found = [list(islice(inner, length)) for length in lengths]
    return [items if valid else None for items, valid in zip(found, there, strict=True)]


def _of_map(array: pa.MapArray) -> list[Any]:
    keys, items, offsets = values_of(array.keys), values_of(array.items), array.offsets.to_pylist()
    there = zip(pairwise(offsets), array.is_valid().to_pylist(), strict=True)
    return [_object(keys[begin:end], items[begin:end]) if valid else None for (begin, end), valid in there]


def _object(keys: list[Any], items: list[Any]) -> Any:
    found: dict[str, Any] = {}
    for key, item in zip(keys, items, strict=True):
        if isinstance(key, Unreadable):
            return key
        try:
            name = document_id([key])
        except NoId as error:
            return Unreadable("invalid_value", f"a map has {error}".replace("makes no _id", "that is not text"))
        if name in found:
            return Unreadable("invalid_value", f"a map has the key {name!r:.80} twice, of which one would be lost")
        found[name] = item
    return found


def _of_times(array: pa.Array) -> list[Any]:
    """Dates, times, timestamps and durations by their numbers.

    The library makes 00:00 of 24:00, drops the time of a date of 64 bits, and has its own types for nanoseconds.
    """
    kind = array.type
    if pa.types.is_date32(kind):
        return _each(array, pa.int32(), lambda days: (_EPOCH + timedelta(days)).date())
    if pa.types.is_date64(kind):
        return _each(array, pa.int64(), lambda ms: _date(*divmod(ms, _DAY_S * 1_000)))
    each_ns = _NS_EACH[kind.unit]
    if pa.types.is_timestamp(kind):
        zone = _zone(kind.tz)
        return _each(array, pa.int64(), lambda ticks: _stamp(ticks * each_ns, zone))
    if pa.types.is_duration(kind):
        return _each(array, pa.int64(), lambda ticks: _duration(ticks * each_ns))
    number = pa.int32() if pa.types.is_time32(kind) else pa.int64()
    return _each(array, number, lambda ticks: _clock(ticks * each_ns))


def _each(array: pa.Array, number: pa.DataType, make: Callable[[int], Any]) -> list[Any]:
    found: list[Any] = []
    for ticks in array.view(number).to_pylist():
        try:
            found.append(None if ticks is None else make(ticks))
        except (OverflowError, ValueError):
            reason = f"{ticks} as {array.type} is not a date or time of the years 1 to 9999"
            found.append(Unreadable("date_out_of_range", reason, ticks))
    return found


def _date(days: int, rest: int) -> date:
    if rest:
        raise ValueError(rest)
    return (_EPOCH + timedelta(days)).date()


def _stamp(ns: int, zone: Any) -> Any:
    micros, nanos = divmod(ns, 1_000)
    stamp: datetime = _EPOCH + timedelta(microseconds=micros)
    if zone is not None:
        stamp = stamp.replace(tzinfo=UTC)
        try:
            stamp = stamp.astimezone(zone)
        except (OverflowError, ValueError):
            # The first and last day of time, which other zones lack.
            stamp = stamp.astimezone(UTC)
    return stamp if not nanos else _with_nanos(stamp.isoformat(timespec="microseconds"), nanos)


def _with_nanos(text: str, nanos: int) -> str:
    head, _, tail = text.partition(".")
    return f"{head}.{tail[:6]}{nanos:03}{tail[6:]}"


def _zone(name: str | None) -> Any:
    if name is None:
        return None
    try:
        return pa.lib.string_to_tzinfo(name)
    except Exception:  # noqa: BLE001 a zone that this machine does not know; the moment is the same in UTC
        return UTC


def _duration(ns: int) -> Any:
    micros, nanos = divmod(ns, 1_000)
    if not nanos:
        return timedelta(microseconds=micros)
    seconds, rest = divmod(abs(ns), _NS)
    return f"{'-' if ns < 0 else ''}PT{seconds}.{rest:09}S"


def _clock(ns: int) -> Any:
    seconds, rest = divmod(ns, _NS)
    if not 0 <= seconds < _DAY_S:
        raise ValueError(ns)
    micros, nanos = divmod(rest, 1_000)
    clock = time(seconds // 3_600, seconds // 60 % 60, seconds % 60, micros)
    return clock if not nanos else _with_nanos(clock.isoformat(timespec="microseconds"), nanos)


def finer(fine: Any, coarse: Any) -> Any:
    """Of a value read in nanoseconds and in microseconds the finer one, where both are the same moment."""
    if isinstance(fine, list) and isinstance(coarse, list):
        return [finer(*pair) for pair in zip(fine, coarse, strict=True)]
    if isinstance(fine, dict) and isinstance(coarse, dict):
        return {name: finer(value, coarse[name]) for name, value in fine.items()}
    if not isinstance(coarse, datetime | Unreadable):
        return fine
    near = datetime.fromisoformat(fine[:26]) if isinstance(fine, str) else fine
    return fine if near == coarse else coarse
