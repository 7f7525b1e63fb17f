"""Finds where a value of JSON text ends without parsing it, also a broken one."""

from __future__ import annotations

import re

_BRACKET_OR_STRING = re.compile(r'["{}\[\]]')
_STRING_END = re.compile(r'["\\]')
_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|[{}\[\],]')
_LINE = re.compile(r"\n([ \t]*)([^ \t\r\n])")
_BLOCK = re.compile(r"[{\[][ \t\r]*\n([ \t]*)(?=\S)")
_OPENING = {"}": "{", "]": "["}


def skim(text: str, at: int, depth: int, *, in_string: bool) -> tuple[int, int, bool]:
    """Find where a value ends by its brackets and quotes alone, or how far this text goes; and the state there."""
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


def end_of_broken(text: str, at: int, closing: str) -> int | None:
    """Where a broken element is over: at the comma or bracket after it, or at the end of its last line.

    First by its brackets and quotes. Where those do not come out even, the next line that begins as the
    element's own line does is the next element, so only what begins a line can be found by that.

    Args:
        text: from before the element on, with its line where that is known.
        at: where the element begins; of an object's member the value.
        closing: the bracket of the list or object.

    Returns:
        The place, or None where no way on is found.
    """
    following = _next_line(text, at, closing)
    stack: list[str] = []
    for token in _TOKEN.finditer(text, at, following if following is not None else len(text)):
        found = token[0]
        if not stack and found in (",", closing):
            return token.start()
        if found in ("{", "["):
            stack.append(found)
        elif found in _OPENING and (not stack or stack.pop() != _OPENING[found]):
            break
    if following is None:
        return None
    # The comma after it is left for whoever goes on.
    element = text[at:following].rstrip()
    return at + len(element.removesuffix(","))


def end_of_junk(text: str, at: int, closing: str) -> int | None:
    """Where what stands between two elements is over: at a comma, the closing bracket or the end of its line."""
    found = re.compile(rf"[,\n\{closing}]").search(text, at)
    return found.start() if found else None


def _next_line(text: str, at: int, closing: str) -> int | None:
    """The line of the next element or of the list's end, by the indentation of the element's own."""
    begin = text.rfind("\n", 0, at) + 1
    line = text[begin:at]
    indentation = line[: len(line) - len(line.lstrip(" \t"))]
    first = '"' if closing == "}" else "{"
    # One that is not the first of its line would be found or not, as reading began before or after the others.
    head = line.strip(" \t")
    if not begin or (head[:1] if closing == "}" else head + text[at : at + 1]) != first:
        return None
    block = _BLOCK.match(text, at)
    if block and block[1] == indentation:
        # What lies within is not indented, so its lines look like elements.
        return None
    for match in _LINE.finditer(text, at):
        inner, character = match.groups()
        if len(inner) > len(indentation):
            continue
        if inner == indentation and character == first:
            return match.start(2)
        if character == closing and (len(inner) < len(indentation) or not block):
            return match.start(2)
        if len(inner) < len(indentation):
            return None
    return None
