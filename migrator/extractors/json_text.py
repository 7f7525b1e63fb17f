"""Walks through JSON text of any length, one value at a time, holding no more than that value."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any, NamedTuple

from migrator.codec import json_fault
from migrator.errors import ConfigError
from migrator.extractors.lines import BLOCK_BYTES, Readable

# Values are looked at, never handed on, so numbers need not be exact; and int() refuses more than 4300 digits.
_DECODER = json.JSONDecoder(parse_int=float)
_LENIENT = json.JSONDecoder(parse_int=float, strict=False)
_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER_TAIL = re.compile(r"[0-9.eE+-]*")
_BRACKET_OR_STRING = re.compile(r'["{}\[\]]')
_STRING_END = re.compile(r'["\\]')
# The decoder stumbles over text that goes on in the next block no further than this from the block's end.
_CUT_CHARS = 16
_BOM = "\ufeff"


class Problem(Enum):
    """Why a value was passed over without being looked into."""

    TOO_LARGE = "document_too_large"
    TOO_DEEP = "too_deep"


class Value(NamedTuple):
    """A value's text as it stands in the file, and what it is; numbers in `parsed` are not exact."""

    parsed: Any
    text: bytes
    problem: Problem | None = None


class JsonText:
    """A cursor over JSON text.

    Bytes that are no UTF-8 come through unchanged, so that only the document that holds them is at fault.

    Args:
        stream: the text from `offset` on.
        name: the file's name, for messages.
        offset: where in the text the stream stands.
        max_value_bytes: longer values are passed over.
        lenient: control characters within strings are left to whoever reads the values.
    """

    def __init__(
        self, stream: Readable, name: str, *, offset: int = 0, max_value_bytes: int, lenient: bool = False
    ) -> None:
        self.offset = offset
        self._stream = stream
        self._name = name
        self._max_value_bytes = max_value_bytes
        self._parse = (_LENIENT if lenient else _DECODER).raw_decode
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text = ""
        self._at = 0
        self._ended = False
        # Where the window begins, as far as that is known.
        self._line: int | None = None if offset else 1
        self._column = 0
        if not offset and self.peek() == _BOM:
            self._consume(self._at + 1)

    def peek(self) -> str:
        """The next character that is no white space; "" at the end."""
        while True:
            end = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            self._consume(end)
            if end < len(self._text):
                return self._text[end]
            if self._ended:
                return ""
            self._fill()

    def take(self, characters: str) -> str:
        """Pass over one of these characters and give it.

        Raises:
            ConfigError: something else stands there.
        """
        found = self.peek()
        if not found or found not in characters:
            raise self._broken(f"expected {' or '.join(characters)}", self._at)
        self._consume(self._at + 1)
        return found

    def value(self) -> Value:
        """Pass over one value and give it.

        Raises:
            ConfigError: what stands there is not JSON.
        """
        self.peek()
        while True:
            try:
                parsed, end = self._parse(self._text, self._at)
            except RecursionError:
                return self._skim(Problem.TOO_DEEP)
            except json.JSONDecodeError as error:
                if self._ended or not self._may_be_cut(error):
                    why, at = json_fault(error)
                    raise self._broken(_in_our_words(why), at) from None
            else:
                # A number at the window's end may go on behind it.
                goes_on = _NUMBER_TAIL.match(self._text, end) if isinstance(parsed, float) else None
                if self._ended or goes_on is None or goes_on.end() < len(self._text):
                    text = self._consume(end)
                    if len(text) > self._max_value_bytes:
                        return Value(None, b"", Problem.TOO_LARGE)
                    return Value(parsed, text)
            if len(self._text) - self._at > self._max_value_bytes:
                return self._skim(Problem.TOO_LARGE)
            self._fill()

    def entries(self, *, keyed: bool, begun: bool = False) -> Iterator[Value | None]:
        """Go through the object (or list) whose bracket was taken; at each step the caller takes the value.

        Args:
            keyed: it is an object: each key is given. Otherwise None is given for each element.
            begun: the cursor stands behind a value of it.
        """
        closing = "}" if keyed else "]"
        if not begun and self.peek() == closing:
            self.take(closing)
            return
        while not begun or self.take(f",{closing}") == ",":
            begun = True
            if not keyed:
                yield None
                continue
            if self.peek() != '"':
                raise self._broken("expected a key in double quotes", self._at)
            key = self.value()
            if key.problem:
                raise self._broken(f"the key before this is longer than {self._max_value_bytes} bytes", self._at)
            self.take(":")
            yield key

    def end(self) -> None:
        """Make sure that nothing follows.

        Raises:
            ConfigError: something does.
        """
        if self.peek():
            raise self._broken(
                "expected the end of the file", self._at, hint="A file with one document a line is called .ndjson."
            )

    def advance(self, offset: int) -> None:
        """Move on to a byte offset that is not behind the cursor."""
        waiting = self._text[self._at :].encode("utf-8", "surrogateescape") + self._decoder.getstate()[0]
        missing = offset - self.offset
        while missing > len(waiting):
            missing -= len(waiting)
            waiting = self._stream.read(BLOCK_BYTES)
            if not waiting:
                break
        self._decoder.reset()
        self._text = self._decoder.decode(waiting[missing:])
        self._at = 0
        self.offset = offset
        self._line = None

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - _CUT_CHARS

    def _fill(self) -> None:
        # As much again as is waiting: so a long value is read over and over, but in all only twice its length.
        block = self._stream.read(max(BLOCK_BYTES, len(self._text) - self._at))
        self._ended = not block
        if self._line is not None:
            self._line, self._column = self._place(self._at)
        self._text = self._text[self._at :] + self._decoder.decode(block, final=self._ended)
        self._at = 0

    def _consume(self, end: int) -> bytes:
        text = self._text[self._at : end].encode("utf-8", "surrogateescape")
        self._at = end
        self.offset += len(text)
        return text

    def _skim(self, problem: Problem) -> Value:
        """Pass over a value by its brackets and quotes alone, keeping no more of it than is allowed."""
        if self.peek() not in '{["':
            raise self._broken(f"a number is longer than {self._max_value_bytes} bytes", self._at)
        pieces: list[bytes] = []
        length = depth = 0
        in_string = complete = False
        while not complete:
            end, depth, in_string = self._skim_window(depth, in_string=in_string)
            complete = depth == 0 and not in_string
            piece = self._consume(end)
            length += len(piece)
            if length > self._max_value_bytes:
                problem = Problem.TOO_LARGE
                pieces.clear()
            else:
                pieces.append(piece)
            if not complete:
                if self._ended:
                    raise self._broken("a value has no end", len(self._text))
                self._fill()
        return Value(None, b"".join(pieces), problem)

    def _skim_window(self, depth: int, *, in_string: bool) -> tuple[int, int, bool]:
        """Find where the value ends, or how far this window goes; and the state there."""
        text = self._text
        at = self._at
        while found := (_STRING_END if in_string else _BRACKET_OR_STRING).search(text, at):
            at = found.end()
            if found[0] == "\\":
                if at == len(text):
                    # What it escapes is in the next window.
                    return at - 1, depth, in_string
                at += 1
                continue
            if found[0] == '"':
                in_string = not in_string
            else:
                depth += 1 if found[0] in "{[" else -1
            if depth == 0 and not in_string:
                return at, depth, in_string
        return len(text), depth, in_string

    def _place(self, at: int) -> tuple[int, int]:
        """Line from 1 and characters before `at` in it."""
        assert self._line is not None
        newline = self._text.rfind("\n", 0, at)
        column = at - newline - 1 if newline >= 0 else self._column + at
        return self._line + self._text.count("\n", 0, at), column

    def _broken(self, why: str, at: int, *, hint: str = "") -> ConfigError:
        if at >= len(self._text) and self._ended:
            why += ", but the file ends"
            hint = hint or "It may have been cut off: fetch or make it again."
        if self._line is None:
            return ConfigError(f"{self._name} is broken behind byte {self.offset}: {why}.", hint=hint)
        line, column = self._place(at)
        return ConfigError(
            f"{self._name}:{line}:{column + 1}: {why}.", hint=hint or "Mend the file; nothing was read from it."
        )


def _in_our_words(message: str) -> str:
    words = message.replace("Expecting", "expected").removesuffix(" at").removesuffix(" starting")
    return words[:1].lower() + words[1:]
