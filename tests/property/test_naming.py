"""Names hold for every collection that anyone could think of."""

from __future__ import annotations

import contextlib
import re
import urllib.parse

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from migrator.errors import ConfigError
from migrator.naming import (
    MAX_FILE_NAME_BYTES,
    SYSTEM_DATABASES,
    collection_name,
    database_name,
    database_names,
    file_name,
)

LEGAL = re.compile(r"[a-z][a-z0-9_$()+/-]{0,237}")
# Lone surrogates as well: Python strings can hold them, and so can hostile files.
NAMES = st.text(st.characters(codec=None), min_size=1, max_size=300)
PLAIN = st.text("abcXYZ019_$()+/-. é\n", min_size=1, max_size=12)


@given(NAMES | PLAIN)
@example("İ" * 200)
@example("a\n")
@example("ß")
def test_a_databases_name_is_legal(collection: str) -> None:
    """Whatever the collection is called, CouchDB takes the name, and a legal one is not changed."""
    name = database_name(collection, allow_system=True)
    assert LEGAL.fullmatch(name) or name in SYSTEM_DATABASES
    assert name == database_name(name, allow_system=True)
    if LEGAL.fullmatch(collection):
        assert collection == name


@given(st.lists(PLAIN, max_size=6), st.sampled_from(["", "p_", "x/"]))
def test_no_two_collections_share_a_database(collections: list[str], prefix: str) -> None:
    """Either each has its own, or the error says that two would not."""
    single = {collection: database_name(prefix + collection) for collection in collections}
    if len(set(single.values())) < len(single):
        with pytest.raises(ConfigError, match="would both go to the database"):
            database_names(collections, prefix=prefix)
        return
    names = database_names(collections, prefix=prefix)
    assert single == names
    assert all(LEGAL.fullmatch(name) for name in names.values())


@given(NAMES | PLAIN)
@example("a" * MAX_FILE_NAME_BYTES)
@example("~" * MAX_FILE_NAME_BYTES)
@example("é" * (MAX_FILE_NAME_BYTES // 6))
def test_a_files_name_goes_back(collection: str) -> None:
    """It is safe in every folder, and gives the collection again; so no two collections have the same file."""
    encoded = urllib.parse.quote(collection, safe="", errors="surrogatepass").replace("~", "%7E")
    if len(encoded) > MAX_FILE_NAME_BYTES - 2:
        # A dot at the start may make the difference of two.
        with contextlib.suppress(ConfigError):
            assert collection == collection_name(file_name(collection))
        return
    stem = file_name(collection)
    assert re.fullmatch(r"[A-Za-z0-9_%-][A-Za-z0-9._%-]*", stem)
    assert len(stem) <= MAX_FILE_NAME_BYTES
    assert collection == collection_name(stem)


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20))
def test_every_stem_is_a_collection(stem: str) -> None:
    """Whatever a file is called, it has a collection, and that one has a safe file."""
    collection = collection_name(stem)
    assert collection
    assert collection == collection_name(file_name(collection))
