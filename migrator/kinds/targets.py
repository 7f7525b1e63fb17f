"""The kinds of TARGET, one row each: help and documentation are made from the rows.

A factory is named as an entry point names it, is imported when it is needed, and has the signature of a plug-in's:
`factory(target, config, names, environ)`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """A kind of target.

    Args:
        forms: what people write, with what it is.
        factory: `module:function`.
        schemes: the words before the colon of a TARGET.
    """

    forms: dict[str, str]
    factory: str
    schemes: tuple[str, ...] = ()


COUCHDB = Target(
    {
        "http(s)://host:5984": "a CouchDB server, one database for each collection",
        "http(s)://host:5984/database": "one database, for one collection",
    },
    "migrator.loaders.couchdb:open_target",
    schemes=("http", "https"),
)
FOLDER = Target({"folder/": "one `<collection>.ndjson` each"}, "migrator.loaders.ndjson:open_target")
STREAM = Target({"-": "the NDJSON of one collection on standard output"}, "migrator.loaders.stream:open_target")
TARGETS = (COUCHDB, FOLDER, STREAM)

FORMS = ", ".join(form for target in TARGETS for form in target.forms)
"""What people can write, for messages."""
HELP = "; ".join(f"{form}: {what.replace('`', '')}" for target in TARGETS for form, what in target.forms.items())
BY_SCHEME = {scheme: target for target in TARGETS for scheme in target.schemes}
