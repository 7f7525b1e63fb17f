"""Reads SPEC, the text of one transformer on the command line and in a job file."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from migrator import plugins
from migrator.errors import ConfigError
from migrator.model import Document, Transformer
from migrator.naming import shown
from migrator.plugins import imports
from migrator.transformers.drop import drop
from migrator.transformers.ids import id_from_field, id_from_hash, id_from_template, id_uuid7
from migrator.transformers.keep import keep
from migrator.transformers.masking import FORMS, mask, mask_key, sample
from migrator.transformers.paths import split
from migrator.transformers.rename import rename
from migrator.transformers.setting import set_field
from migrator.transformers.user_function import load_function, user_function
from migrator.transformers.where import read_value, where

KINDS: dict[str, str] = {
    "id:field=NAME": "take the _id from a field: text, an integer's digits or a UUID",
    "id:template=TEXT": "make the _id of fields, as in {country}-{code}; {{ is a brace",
    "id:hash": "make the _id of the content (SHA-256); id:hash=a,b of these fields alone",
    "id:uuid7": "make the _id a UUID by time, the same for the same document within one run",
    "rename:OLD=NEW,...": "give fields other names, or move them",
    "drop:FIELD,...": "leave fields out",
    "keep:FIELD,...": "keep these fields and _id, leave out all others",
    "set:FIELD=VALUE": "set a field; VALUE is JSON, or else text",
    "where:CONDITION": "keep documents with f=v, f!=v, f<v, f<=v, f>v, f>=v, f~regex, f or !f; filter out others",
    "sample:N%": "keep a share of the documents, always the same; sample:5%,customer by the value of a field",
    "mask:KIND:FIELD,...": "pseudonym, hash, drop or fake.email and the like, with the key in MIGRATOR_MASK_KEY",
    "MODULE:FUNCTION": "call a function of your own, package.module:function; None filters the document out",
}
"""What a SPEC may be, with a line of help each. A field may be a dotted path; a dot in a name is written `\\.`."""


@dataclass(frozen=True)
class _Run:
    """What a transformer may depend on besides the document."""

    seed: bytes
    started_ms: int


def parse(spec: str, *, seed: bytes = b"", started_ms: int = 0, search_cwd: bool = True) -> Transformer:
    """Make the transformer that a text names; KINDS says which there are.

    Args:
        spec: the text.
        seed: for id:uuid7: random bytes that belong to the run and are kept for its resumption.
        started_ms: for id:uuid7: when the run began, in milliseconds since 1970.
        search_cwd: look for the user's own functions in the working folder first.

    Raises:
        ConfigError: the text names no transformer, or its arguments are wrong.
    """
    kind, colon, rest = spec.partition(":")
    reader = _READERS.get(kind)
    if reader is not None:
        return reader(spec, rest, _Run(seed, started_ms))
    plugin = plugins.find(plugins.TRANSFORMERS, kind) if kind.isidentifier() else None
    if plugin is not None:
        return user_function(plugin.make(Callable, rest), name=spec)  # type: ignore[arg-type]
    if not colon or not imports.is_spec(spec):
        raise _unknown(spec, f"--transform {shown(spec)} names no transformer.")
    try:
        return load_function(spec, search_cwd=search_cwd)
    except imports.NoSuchModule as error:
        if "." in kind and not _nearest(spec):
            raise ConfigError(f"--transform {shown(spec)}: {error.message}", hint=error.hint) from error
        raise _unknown(spec, f"--transform {shown(spec)} names no transformer: {error.message}") from error


def compose(transformers: Iterable[Transformer]) -> Transformer:
    """One transformer that applies several in order; the first that gives None filters the document out."""
    steps = tuple(transformers)
    if len(steps) == 1:
        return steps[0]

    def transform(document: Document) -> Document | None:
        for step in steps:
            transformed = step(document)
            if transformed is None:
                return None
            document = transformed
        return document

    return transform


def _read_id(spec: str, rest: str, run: _Run) -> Transformer:
    way, equals, argument = rest.partition("=")
    if way == "field" and argument:
        return id_from_field(argument)
    if way == "template" and argument:
        return id_from_template(argument)
    if way == "hash" and bool(argument) is bool(equals):
        return id_from_hash(*_list(argument))
    if way == "uuid7" and not equals:
        return id_uuid7(seed=run.seed, started_ms=run.started_ms)
    raise _incomplete(spec, "id:field=NAME, id:template={a}-{b}, id:hash, id:hash=a,b or id:uuid7")


def _read_rename(spec: str, rest: str, _run: _Run) -> Transformer:
    names: dict[str, str] = {}
    for pair in _list(rest):
        old, *new = split(pair, "=")
        if len(new) != 1:
            raise _incomplete(spec, "rename:old=new or rename:old=new,other=another")
        if old in names:
            raise ConfigError(f"--transform {spec}: {old} is renamed twice.", hint="Name each field once.")
        names[old] = new[0]
    if not names:
        raise _incomplete(spec, "rename:old=new or rename:old=new,other=another")
    return rename(names)


def _read_drop(spec: str, rest: str, _run: _Run) -> Transformer:
    if not rest:
        raise _incomplete(spec, "drop:a or drop:a,b.c")
    return drop(*_list(rest))


def _read_keep(spec: str, rest: str, _run: _Run) -> Transformer:
    if not rest:
        raise _incomplete(spec, "keep:a or keep:a,b.c")
    return keep(*_list(rest))


def _read_set(spec: str, rest: str, _run: _Run) -> Transformer:
    field, *value = split(rest, "=")
    if not field or not value:
        raise _incomplete(spec, "set:field=VALUE")
    # A backslash belongs to the value, where it means nothing to us.
    return set_field(field, read_value(rest[len(field) + 1 :], spec))


def _read_where(spec: str, rest: str, _run: _Run) -> Transformer:
    if not rest:
        raise _incomplete(spec, "where:field=value, where:field or where:!field")
    return where(rest)


def _read_sample(_spec: str, rest: str, _run: _Run) -> Transformer:
    return sample(rest)


def _read_mask(spec: str, rest: str, _run: _Run) -> Transformer:
    kind = rest.partition(":")[0]
    if not rest or ":" not in rest:
        raise _incomplete(spec, f"mask:{FORMS}")
    # What is left out needs no key.
    return mask(rest, b"" if kind == "drop" else mask_key())


_READERS: dict[str, Callable[[str, str, _Run], Transformer]] = {
    "id": _read_id,
    "rename": _read_rename,
    "drop": _read_drop,
    "keep": _read_keep,
    "set": _read_set,
    "where": _read_where,
    "sample": _read_sample,
    "mask": _read_mask,
}


def _list(text: str) -> list[str]:
    return split(text, ",") if text else []


def _incomplete(spec: str, forms: str) -> ConfigError:
    return ConfigError(f"--transform {shown(spec)} is incomplete or wrong.", hint=f"Write {forms}.")


def _nearest(spec: str) -> str:
    kind = spec.partition(":")[0].strip().casefold()
    found = difflib.get_close_matches(kind, [*_READERS, *plugins.words(plugins.TRANSFORMERS)], n=1)
    return found[0] if found else ""


def _unknown(spec: str, message: str) -> ConfigError:
    nearest = _nearest(spec)
    question = f"Did you mean {nearest}? " if nearest else ""
    known = [*KINDS, *(f"{word}:…" for word in plugins.words(plugins.TRANSFORMERS))]
    return ConfigError(message, hint=f"{question}There are: {', '.join(known)}.")
