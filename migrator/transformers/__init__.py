"""What happens to a document on the way: small pure functions, composed in the order given.

Each factory gives a `migrator.model.Transformer`: it makes a new document, never changes the one it got, and
gives None to filter it out. `parse` makes one from the text that people write.
"""

from migrator.transformers.fields import drop, keep, rename, set_field
from migrator.transformers.ids import id_from_field, id_from_hash, id_from_template, id_uuid7
from migrator.transformers.masking import mask, sample
from migrator.transformers.spec import compose, parse, parse_all, user_function
from migrator.transformers.where import where

__all__ = [
    "compose",
    "drop",
    "id_from_field",
    "id_from_hash",
    "id_from_template",
    "id_uuid7",
    "keep",
    "mask",
    "parse",
    "parse_all",
    "rename",
    "sample",
    "set_field",
    "user_function",
    "where",
]
