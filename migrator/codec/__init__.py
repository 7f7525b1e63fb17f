"""Documents to bytes and back, exactly: reading, writing, and the declared codecs for values that JSON lacks."""

from migrator.codec.faults import InvalidDocument, Unencodable, json_fault
from migrator.codec.reading import decode, decode_value, one_line, top_level
from migrator.codec.tags import TAGGED, tag, untag
from migrator.codec.values import PLAIN, STRICT, ValueCodec
from migrator.codec.writing import BOOKKEEPING, canonical, content_hash, encode, plain

VALUE_CODECS: dict[str, ValueCodec] = {"plain": PLAIN, "tagged": TAGGED, "strict": STRICT}
"""The value codecs by the name that people give."""

__all__ = [
    "BOOKKEEPING",
    "PLAIN",
    "STRICT",
    "TAGGED",
    "VALUE_CODECS",
    "InvalidDocument",
    "Unencodable",
    "ValueCodec",
    "canonical",
    "content_hash",
    "decode",
    "decode_value",
    "encode",
    "json_fault",
    "one_line",
    "plain",
    "tag",
    "top_level",
    "untag",
]
