"""Walks through JSON text of any length, one value at a time, holding no more than that value."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from functools import partial

from migrator.codec import json_fault
from migrator.extractors.json_values import (
    BrokenJson,
    Problem,
    Value,
    deep_value,
    end_of_broken,
    end_of_junk,
    skim,
)
from migrator.extractors.lines import BLOCK_BYTES, Readable, TextFile, line_at

MAX_DOCUMENT_BYTES = 64 << 20
"""A longer one becomes a fault."""

# Values are looked at, never handed on, so numbers need not be exact; and int() refuses more than 4300 digits.
# What is wrong within a string is left to whoever reads the value.
_PARSE = json.JSONDecoder(parse_int=float, strict=False).raw_decode
_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER_TAIL = re.compile(r"[0-9.eE+-]*")
# The decoder stumbles over text that goes on in the next block no further than this from the block's end.
_CUT_CHARS = 16
# A string that is cut at the window's end must not show brackets that lie in it.
_AHEAD_CHARS = 1 << 20
# So much of a line before the cursor is kept.
_KEPT_CHARS = 200
_BOM = "\ufeff"


@dataclass(eq=False)
class JsonText:
    """A cursor over JSON text.

    Bytes that are not UTF-8 come through unchanged, so that only the document that holds them is at fault. `lost`
    says that all the rest was passed over.

    Args:
        stream: the text from `offset` on.
        name: the file's name, for messages.
        offset: where in the text the stream stands.
        max_value_bytes: longer values are passed over.
        line_at: gives line and characters before a byte offset, where `offset` is not the beginning.
    """

    stream: Readable
    name: str
    _: KW_ONLY
    offset: int = 0
    max_value_bytes: int
    line_at: Callable[[int], tuple[int, int]] | None = None
    lost = False

    def __post_init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text = ""
        self._at = 0
        self._ended = False
        # Where the window begins, as far as that is known.
        self._line: int | None = None if self.offset else 1
        self._column = 0
        if not self.offset and self.peek() == _BOM:
            self._consume(self._at + 1)

    def peek(self) -> str:
        """The next character that is not white space; "" at the end."""
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
                parsed, end = _PARSE(self._text, self._at)
            except RecursionError:
                value = self._skimmed()
                return value if value.problem else deep_value(value.text, self.name)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - _CUT_CHARS
                if self._ended or not cut:
                    why, at = json_fault(error)
                    why = (why[:1].lower() + why[1:]).replace("expecting", "expected")
                    raise self._broken(why.removesuffix(" at").removesuffix(" starting"), at) from None
            else:
                # A number at the window's end may go on after it.
                goes_on = _NUMBER_TAIL.match(self._text, end) if isinstance(parsed, float) else None
                if self._ended or goes_on is None or goes_on.end() < len(self._text):
                    text = self._consume(end)
                    if len(text) > self.max_value_bytes:
                        return Value(None, b"", Problem.TOO_LARGE)
                    return Value(parsed, text)
            if len(self._text) - self._at > self.max_value_bytes:
                return self._skimmed()
            self._fill()

    def entries(self, *, keyed: bool) -> Iterator[Value | None]:
        """Go through the object (or list) whose bracket was taken; at each step the caller takes the value.

        Args:
            keyed: it is an object: each key is given. Otherwise None is given for each element.
        """
        closing = "}" if keyed else "]"
        more = self.peek() != closing or self.take(closing) != closing
        while more and not self.lost:
            yield self._key() if keyed else None
            more = self.lost or self.take(f",{closing}") == ","

    def elements(self, *, keyed: bool, begun: bool = False) -> Iterator[tuple[Value | None, Value]]:
        """Go through the object (or list) whose bracket was taken: keys (or None) and values.

        What is not JSON is `BROKEN`, and the others are found after it; else all the rest of the text is its text.

        Args:
            keyed: it is an object.
            begun: the cursor stands after a value of it.
        """
        closing = "}" if keyed else "]"
        while not self.lost and self.peek() != closing:
            missing: BrokenJson | None = None
            if begun and self.peek() == ",":
                self.take(",")
            elif begun:
                missing = self._broken(f"expected , or {closing}", self._at)
            begun = True
            key: Value | None = None
            try:
                key = self._key() if keyed else None
                value = self.value()
            except BrokenJson as error:
                value = self._recovered(missing or error, closing, junk=missing is not None)
            else:
                if missing:
                    # It may belong to what was lost before it, so nobody guesses.
                    value = Value(None, value.text, Problem.BROKEN, missing.message)
            yield key, value
        if not self.lost:
            self.take(closing)

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
        """Move on to a byte offset that is not after the cursor."""
        waiting = self._text[self._at :].encode("utf-8", "surrogateescape") + self._decoder.getstate()[0]
        missing = offset - self.offset
        while missing > len(waiting):
            missing -= len(waiting)
            waiting = self.stream.read(BLOCK_BYTES)
            if not waiting:
                break
        self._decoder.reset()
        self._text = self._decoder.decode(waiting[missing:])
        self._at = 0
        self.offset = offset
        self._line = None

    def _key(self) -> Value:
        if self.peek() != '"':
            raise self._broken("expected a key in double quotes", self._at)
        key = self.value()
        if key.problem:
            raise self._broken(f"the key before this is longer than {self.max_value_bytes} bytes", self._at)
        self.take(":")
        return key

    def _recovered(self, error: BrokenJson, closing: str, *, junk: bool) -> Value:
        """Pass over a broken element, or over all the rest where its end cannot be found."""
        find = end_of_junk if junk else end_of_broken
        end = find(self._text, self._at, closing)
        while not self._ended and (end is None or end > len(self._text) - _AHEAD_CHARS):
            if len(self._text) - self._at > self.max_value_bytes:
                break
            self._fill()
            end = find(self._text, self._at, closing)
        self.lost = end is None
        rest = " What comes after it cannot be separated and is not read." if self.lost else ""
        text = self._consume(len(self._text) if end is None else end)
        while self.lost and not self._ended:
            self._fill()
            text = b""
            self._consume(len(self._text))
        kept = text if len(text) <= self.max_value_bytes else b""
        return Value(None, kept, Problem.BROKEN, error.message + rest)

    def _fill(self) -> None:
        # As much again as is waiting: so a long value is read over and over, but in all only twice its length.
        block = self.stream.read(max(BLOCK_BYTES, len(self._text) - self._at))
        self._ended = not block
        # The line's beginning shows where the lines of its like begin.
        begin = self._text.rfind("\n", max(0, self._at - _KEPT_CHARS), self._at)
        begin = self._at if begin < 0 else begin
        if self._line is not None:
            self._line, self._column = self._place(begin)
        self._text = self._text[begin:] + self._decoder.decode(block, final=self._ended)
        self._at -= begin

    def _consume(self, end: int) -> bytes:
        text = self._text[self._at : end].encode("utf-8", "surrogateescape")
        self._at = end
        self.offset += len(text)
        return text

    def _skimmed(self) -> Value:
        """Pass over a value by its brackets and quotes alone, keeping no more of it than is allowed."""
        if self.peek() not in '{["':
            raise self._broken(f"a number is longer than {self.max_value_bytes} bytes", self._at)
        pieces: list[bytes] = []
        length = depth = 0
        in_string = complete = False
        while not complete:
            end, depth, in_string = skim(self._text, self._at, depth, in_string=in_string)
            complete = depth == 0 and not in_string
            piece = self._consume(end)
            length += len(piece)
            if length > self.max_value_bytes:
                pieces.clear()
            else:
                pieces.append(piece)
            if not complete:
                if self._ended:
                    raise self._broken("a value has no end", len(self._text))
                self._fill()
        return Value(None, b"".join(pieces), None if length <= self.max_value_bytes else Problem.TOO_LARGE)

    def _place(self, at: int) -> tuple[int, int]:
        """Line from 1 and characters before `at` in it."""
        assert self._line is not None
        newline = self._text.rfind("\n", 0, at)
        column = at - newline - 1 if newline >= 0 else self._column + at
        return self._line + self._text.count("\n", 0, at), column

    def _broken(self, why: str, at: int, *, hint: str = "") -> BrokenJson:
        if self._line is None and self.line_at is not None:
            window = self._text[: self._at].encode("utf-8", "surrogateescape")
            self._line, self._column = self.line_at(self.offset - len(window))
        if at >= len(self._text) and self._ended:
            why += ", but the file ends"
            hint = hint or "It may have been cut off: fetch or make it again."
        if self._line is None:
            return BrokenJson(f"{self.name} is broken after byte {self.offset}: {why}.", hint=hint)
        line, column = self._place(at)
        return BrokenJson(
            f"{self.name}:{line}:{column + 1}: {why}.", hint=hint or "Fix the file; nothing was read from it."
        )


def documents_in(file: TextFile) -> JsonText:
    """A cursor where a file of documents stands, which leaves what is wrong within a string to who reads it."""
    return JsonText(
        file,
        str(file.path),
        offset=file.offset,
        max_value_bytes=MAX_DOCUMENT_BYTES,
        line_at=partial(line_at, file.path),
    )
