"""What a collection is called at a target, a legal database or a safe file; and what a wrong name stands for."""

from __future__ import annotations

import fnmatch
import re
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence

from migrator.errors import ConfigError

MAX_DATABASE_NAME_CHARS = 238
"""CouchDB refuses longer ones with `database_name_too_long`."""

MAX_FILE_NAME_BYTES = 243
"""What common file systems allow (255), less the longest suffix that this library adds, `.ndjson.part`."""

MIN_LIKENESS = 0.8
"""Of two words that begin otherwise, for one to be taken for the other mistyped."""

SYSTEM_DATABASES = frozenset({"_users", "_replicator", "_global_changes"})

LEGAL_NAMES = (
    "A database's name has a-z, 0-9, _, $, (, ), +, - and /, with a letter first, at most "
    f"{MAX_DATABASE_NAME_CHARS} characters."
)
"""The rule, for messages."""

_LEGAL = re.compile(r"[a-z][a-z0-9_$()+/-]*")
_NOT_PLAIN = re.compile(r"[^a-z0-9_]")
_NOT_FILE_SAFE = re.compile(rb"[^A-Za-z0-9._-]|^\.")


def database_name(collection: str, *, allow_system: bool = False) -> str:
    """Give the database that a collection goes to.

    A legal name stays as it is. Any other is put into lower case, each character but a-z, 0-9 and `_` becomes
    `_`, `c_` goes before a first character that is not a letter, and what is over the longest length is cut off.

    Args:
        collection: the collection's name.
        allow_system: let `_users`, `_replicator` and `_global_changes` through.

    Raises:
        ConfigError: the name is empty or a system database's.
    """
    if not collection:
        raise ConfigError("A collection has an empty name.", hint="Give it a name in the source.")
    if collection in SYSTEM_DATABASES:
        if allow_system:
            return collection
        raise ConfigError(
            f"The collection {shown(collection)} has the name of a system database, which is not written to.",
            hint=f"Send it elsewhere with --map {collection}=DATABASE, or leave it out with --collection.",
        )
    if _is_legal(collection):
        return collection
    name = _NOT_PLAIN.sub("_", collection.lower())
    if not "a" <= name[0] <= "z":
        name = f"c_{name}"
    return name[:MAX_DATABASE_NAME_CHARS]


def legal_database(database: str, *, of: str = "", allow_system: bool = True) -> str:
    """Give a database's name that somebody chose, as it is: what a user named is never changed.

    Args:
        database: the name, from a URL, a flag or a file.
        of: whose database it would be, for the message, such as "the collection 'x'".
        allow_system: let `_users`, `_replicator` and `_global_changes` through.

    Raises:
        ConfigError: CouchDB refuses the name, or it is a system database's.
    """
    if _is_legal(database) or (allow_system and database in SYSTEM_DATABASES):
        return database
    who = f"{of[:1].upper()}{of[1:]} cannot go to the database" if of else "There can be no database"
    if database in SYSTEM_DATABASES:
        raise ConfigError(
            f"{who} {shown(database)}: that is a system database, which is not written to here.",
            hint="Choose another database.",
        )
    # A URL in place of a name can hold a password, which a name made of it would show.
    near = database_name(database) if database and "://" not in database and "@" not in database else ""
    raise ConfigError(
        f"{who} {shown(database)}: that is not a legal name.",
        hint=f"{f'Write {near}. ' if _is_legal(near) else ''}{LEGAL_NAMES}",
    )


def database_names(
    collections: Iterable[str],
    *,
    prefix: str = "",
    overrides: Mapping[str, str] | None = None,
    allow_system: bool = False,
) -> dict[str, str]:
    """Give each collection its database, and no two the same one.

    Args:
        collections: the collections' names.
        prefix: what goes before each name; it counts as part of the collection's name in the rule.
        overrides: databases that were chosen by hand; they are taken as they are, without the prefix.
        allow_system: as in `database_name`; a system database never takes a prefix.

    Raises:
        ConfigError: two collections have the same database, or a name cannot be.
    """
    chosen = overrides or {}
    if prefix and not _is_legal(prefix):
        raise ConfigError(
            f"The prefix {shown(prefix)} cannot begin a database's name.",
            hint="Use a-z, 0-9, _, $, (, ), +, - and /, with a letter first.",
        )
    names: dict[str, str] = {}
    owners: dict[str, str] = {}
    for collection in dict.fromkeys(collections):
        if collection in chosen:
            name = legal_database(
                chosen[collection], of=f"the collection {shown(collection)}", allow_system=allow_system
            )
        elif not collection or collection in SYSTEM_DATABASES:
            name = database_name(collection, allow_system=allow_system)
        else:
            name = database_name(prefix + collection)
        owner = owners.setdefault(name, collection)
        if owner != collection:
            raise ConfigError(
                f"The collections {shown(owner)} and {shown(collection)} would both go to the database {name!r}.",
                hint="Choose another database for one of them: --map NAME=DATABASE.",
            )
        names[collection] = name
    return names


def file_name(collection: str) -> str:
    """Give the stem of the file that holds a collection; `collection_name` turns it back.

    Everything but A-Z, a-z, 0-9, `.`, `_` and `-`, and a dot at the start, is percent-encoded, so that no name
    can leave its folder or hide in it.

    Raises:
        ConfigError: the name is empty, or too long for a file.
    """
    if not collection:
        raise ConfigError("A collection has an empty name.", hint="Give it a name in the source.")
    name = collection.encode("utf-8", "surrogatepass")
    stem = _NOT_FILE_SAFE.sub(lambda match: b"%%%02X" % match[0][0], name).decode("ascii")
    if len(stem) > MAX_FILE_NAME_BYTES:
        raise ConfigError(
            f"The name of the collection {shown(collection)} is too long for a file: it takes {len(stem)} "
            f"bytes, where {MAX_FILE_NAME_BYTES} are possible.",
            hint="Give the collection a shorter name in the source.",
        )
    return stem


def collection_name(file_stem: str) -> str:
    """Give the collection that a file holds: the inverse of `file_name`.

    A stem that `file_name` never makes is taken as it is, percent signs and all.
    """
    try:
        return urllib.parse.unquote(file_stem, errors="surrogatepass")
    except UnicodeDecodeError:
        return file_stem


def shown(name: str, *, max_chars: int = 80) -> str:
    """Give a name from outside in quotes for a message: on one line, printable, not too long."""
    cut = name if len(name) <= max_chars else f"{name[: max_chars - 3]}..."
    return repr(cut)


def counted(count: int, one: str, many: str = "") -> str:
    """Give so many of something in words: 1 document, 2,000 documents."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def was(count: int, one: str = "was", many: str = "were") -> str:
    """The verb for so many: 1 document was, 2 documents were."""
    return one if count == 1 else many


def span_text(seconds: float) -> str:
    """Give a span of time in its two largest units, days at most: 3 d 4 h, 59 min, 12 s."""
    whole = max(0, int(seconds))
    days, hours, minutes = whole // 86_400, whole // 3_600 % 24, whole // 60 % 60
    for larger, unit, smaller, small in ((days, "d", hours, "h"), (hours, "h", minutes, "min")):
        if larger:
            return f"{larger:,} {unit} {smaller} {small}" if smaller else f"{larger:,} {unit}"
    return f"{minutes} min" if minutes else f"{whole} s"


def printable(text: str) -> str:
    """Give a text from outside for a terminal: whatever would break its line, colour or move it is escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def is_pattern(name: str) -> bool:
    """True of what stands for several names."""
    return any(char in name for char in "*?[")


def is_meant(name: str, pattern: str) -> bool:
    """True where a pattern means a name; what begins with `_` only if the pattern begins with it too."""
    return fnmatch.fnmatchcase(name, pattern) and (pattern.startswith("_") or not name.startswith("_"))


def selected(names: Iterable[str], patterns: Sequence[str], where: str, what: str = "database") -> list[str]:
    """Give the names that somebody chose, in their order; all of them without a choice.

    Args:
        names: what there is.
        patterns: names, or patterns in which `*` and `?` stand for any characters. What begins with `_` is the
            server's own, and is meant only by a pattern that begins with it too.
        where: where they are, for the message.
        what: what has these names, for the message.

    Raises:
        ConfigError: one of them means nothing, so that a mistyped one does not pass for done.
    """
    known = list(names)
    chosen: set[str] = set(() if patterns else known)
    for pattern in patterns:
        found = [pattern] if pattern in known else [name for name in known if is_meant(name, pattern)]
        if not found:
            there = ", ".join(map(printable, known[:20])) + (", …" if len(known) > 20 else "")
            near = did_you_mean(pattern, known)
            raise ConfigError(
                f"{where} has no {what} {shown(pattern)}.",
                hint=f"{near} It has: {there}." if known else "It has none.",
            )
        chosen.update(found)
    return [name for name in known if name in chosen]


def is_database_name(name: str) -> bool:
    """True of a name that a database of CouchDB can have, system databases included."""
    return _is_legal(name) or name in SYSTEM_DATABASES


def _is_legal(name: str) -> bool:
    return len(name) <= MAX_DATABASE_NAME_CHARS and _LEGAL.fullmatch(name) is not None


def did_you_mean(word: str, known: Iterable[str], form: str = "{!r}") -> str:
    """Ask whether another word was meant.

    Args:
        word: what was given.
        known: what could have been given.
        form: how the other word is shown.

    Returns:
        `Did you mean 'other'?`; "" where none is near.
    """
    import difflib  # only for a wrong word

    for near in difflib.get_close_matches(word, list(known)):
        # Half of the letters are soon alike: import is not report.
        if near[:1] == word[:1] or difflib.SequenceMatcher(None, word, near).ratio() >= MIN_LIKENESS:
            return f"Did you mean {form.format(near)}?"
    return ""
