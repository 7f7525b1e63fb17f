"""Cuts JSON texts into the raw texts of their parts, so that what is passed on keeps every digit as spelled.

A text is checked by the codec first; here only its brackets and quotes are followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from migrator.codec import InvalidDocument, decode_value

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},:]', re.DOTALL)
_OPENING, _CLOSING = b"[{", b"]}"


def members(text: bytes) -> Iterator[tuple[str, bytes]]:
    """The members of a JSON object in their order: name and raw text of the value.

    >>> list(members(b'{"a": 1.10, "b": {"c": [1e2]}}'))
    [('a', b'1.10'), ('b', b'{"c": [1e2]}')]
    """
    for part in _parts(text):
        match = _TOKEN.match(part)
        if match is None:
            raise InvalidDocument("invalid_json", "a member of an object has no name")
        colon = part.index(b":", match.end())
        yield str(decode_value(match[0])), part[colon + 1 :].strip()


def elements(text: bytes) -> Iterator[bytes]:
    """The elements of a JSON array, as raw texts.

    >>> list(elements(b'[1.0, "a,b", []]'))
    [b'1.0', b'"a,b"', b'[]']
    """
    return _parts(text)


def _parts(text: bytes) -> Iterator[bytes]:
    """What stands between the commas of the outermost brackets."""
    depth = 0
    begin = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in _OPENING:
            depth += 1
            if depth == 1:
                begin = match.end()
        elif token in _CLOSING:
            depth -= 1
            if depth == 0:
                if last := text[begin : match.start()].strip():
                    yield last
                return
        elif token == b"," and depth == 1:
            yield text[begin : match.start()].strip()
            begin = match.end()
    raise InvalidDocument("invalid_json", "the text ends in the middle")
