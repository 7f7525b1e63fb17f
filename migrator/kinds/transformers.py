"""The kinds of transformer, one row each: help, documentation and contract tests are made from the rows.

A factory is named as an entry point names it, is imported when it is needed, and has the signature of a plug-in's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of transformer.

    Args:
        word: what stands before the colon of a SPEC; "" for the user's own functions.
        forms: what people write, with what it does.
        examples: a SPEC for each form, which the documentation shows and the contract tests run.
        factory: `module:function`, called with what follows the colon.
        extra: what must be installed for it.
    """

    word: str
    forms: Mapping[str, str]
    examples: tuple[str, ...]
    factory: str = ""
    extra: str = ""


KINDS = (
    Kind(
        "id",
        {
            "id:field=NAME": "take the _id from a field: text, an integer's digits or a UUID",
            "id:template=TEXT": "make the _id of fields, as in {country}-{code}; {{ is a brace",
            "id:hash": "make the _id of the content (SHA-256); id:hash=a,b of these fields alone",
            "id:uuid7": "make the _id a UUID by time, the same for the same document within one run",
        },
        ("id:field=sku", "id:template={country}-{code}", "id:hash", "id:uuid7"),
        "migrator.transformers.ids:read_id",
    ),
    Kind(
        "rename",
        {"rename:OLD=NEW,...": "give fields other names, or move them"},
        ("rename:old=new,a.b=c",),
        "migrator.transformers.rename:read_rename",
    ),
    Kind(
        "drop",
        {"drop:FIELD,...": "leave fields out"},
        ("drop:a,b.c",),
        "migrator.transformers.drop:read_drop",
    ),
    Kind(
        "keep",
        {"keep:FIELD,...": "keep these fields and _id, leave out all others"},
        ("keep:a,b.c",),
        "migrator.transformers.keep:read_keep",
    ),
    Kind(
        "set",
        {"set:FIELD=VALUE": "set a field; VALUE is JSON, or else text"},
        ('set:kind="city"',),
        "migrator.transformers.setting:read_set",
    ),
    Kind(
        "default",
        {"default:FIELD=VALUE": "set a field where it is missing; null is not missing"},
        ("default:active=true",),
        "migrator.transformers.default:read_default",
    ),
    Kind(
        "where",
        {
            "where:CONDITION": "keep documents with f=v, f!=v, f<v, f<=v, f>v, f>=v, f~regex, f or !f; filter out "
            "others"
        },
        ("where:active=true",),
        "migrator.transformers.where:read_where",
    ),
    Kind(
        "sample",
        {"sample:N%": "keep a share of the documents, always the same; sample:5%,customer by a field's value"},
        ("sample:5%,customer",),
        "migrator.transformers.masking:sample",
    ),
    Kind(
        "mask",
        {
            "mask:KIND:FIELD,...": "pseudonym, hash, drop or fake.email and the like, with the key in "
            "MIGRATOR_MASK_KEY"
        },
        ("mask:drop:a,b.c",),
        "migrator.transformers.masking:read_mask",
        extra="seed",
    ),
    Kind(
        "",
        {"MODULE:FUNCTION": "call a function of your own, package.module:name; None filters the document out"},
        ("package.module:function",),
    ),
)
"""What a SPEC may be. A field may be a dotted path; a dot in a name is written `\\.`."""

FORMS = ", ".join(form for kind in KINDS for form in kind.forms)
"""What people can write, for messages."""
