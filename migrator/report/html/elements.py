"""Builds HTML as a tree, so that a text from outside can only ever become text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias
from xml.etree.ElementTree import Element, tostring

Child: TypeAlias = "Element | str | Iterable[Child] | None"


def h(tag: str, *children: Child, **attributes: object) -> Element:
    """An element. `class_` is `class`, other underscores are hyphens; None leaves a child or attribute out."""
    element = Element(tag)
    for name, value in attributes.items():
        if value is not None and value is not False:
            text = "" if value is True else clean(str(value))
            element.set(name.rstrip("_").replace("_", "-"), text)
    for child in children:
        _append(element, child)
    return element


def clean(text: str) -> str:
    """A text without what no page can hold or what would turn its direction: such characters are spelled out."""
    if text.isprintable():
        return text
    return "".join(_spelled(character) for character in text)


def markup(element: Element) -> str:
    """The element's HTML, escaped."""
    return tostring(element, encoding="unicode", method="html")


def _append(element: Element, child: Child) -> None:
    if child is None:
        return
    if isinstance(child, Element):
        element.append(child)
    elif isinstance(child, str):
        text = clean(child)
        if len(element):
            element[-1].tail = (element[-1].tail or "") + text
        else:
            element.text = (element.text or "") + text
    else:
        for each in child:
            _append(element, each)


def _spelled(character: str) -> str:
    # Joiners make one letter or emoji of several; what else is unseen could turn the direction of writing.
    if character.isprintable() or character in "\n\t\u200c\u200d":
        return character
    if character.isspace() and character > "\x7f":
        return " "
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")
