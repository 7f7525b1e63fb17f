"""Reads named variables from a `.env` file, as containers and frameworks have it."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from migrator.errors import ConfigError

_LINE = re.compile(r"\s*(?:export\s+)?(\w+)\s*=\s*(.*)", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


def read_env_file(path: Path, names: Collection[str]) -> dict[str, str]:
    r"""The variables of these names; all other lines are somebody else's and are not looked at.

    A value may stand in quotes; within double ones `\"`, `\\` and `\n` mean what they do in a shell. Nothing is
    filled in for `$NAME`, so that a password may have a dollar sign. The last line of a name counts.

    Args:
        path: the file; where there is none, nothing is found.
        names: the variables to look for.

    Raises:
        ConfigError: the file cannot be read, or a quote is not closed. No value is shown.
    """
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{path} cannot be read: {reason}.", hint="Check the file and its rights.") from None
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match and match[1] in names:
            value = _value(match[2].strip())
            if value is None:
                raise ConfigError(
                    f"{path}:{number}: the value of {match[1]} begins with a quote and does not end with it.",
                    hint="Close the quote; a quote within it is written with a backslash before it.",
                )
            found[match[1]] = value
    return found


def _value(text: str) -> str | None:
    if text[:1] == "'":
        value, closed, rest = text[1:].partition("'")
    elif text[:1] == '"':
        match = re.match(r'"((?:[^"\\]|\\.)*)(")?', text)
        assert match is not None  # a quote alone fits
        value, closed, rest = match[1], match[2] or "", text[match.end() :]
        value = _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[1]), value)
    else:
        return re.split(r"(?:^|\s)#", text)[0].strip()
    return value if closed and re.fullmatch(r"\s*(#.*)?", rest) else None
