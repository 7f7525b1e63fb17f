"""Holds the attachments of one leaf on disk: one that cannot be read is known before a byte is written."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import IO

from migrator.files.failures import temporary_file
from migrator.revisions import Attachment, Leaf

# What is smaller need not go to disk.
_MEMORY_BYTES = 1 << 20
_BLOCK_BYTES = 1 << 20


def held(leaf: Leaf, stack: ExitStack) -> Leaf:
    """The same leaf, whose attachments can be opened without the source until the stack is left.

    Raises:
        UnreadableLeaf: one of them cannot be read.
        TransientError: the source gives them no more.
    """
    if not leaf.attachments:
        return leaf
    return leaf._replace(attachments=tuple(_held(attachment, stack) for attachment in leaf.attachments))


def _held(attachment: Attachment, stack: ExitStack) -> Attachment:
    file: IO[bytes] = stack.enter_context(tempfile.SpooledTemporaryFile(_MEMORY_BYTES))  # noqa: SIM115 it is entered
    for piece in attachment.open():
        with temporary_file():
            file.write(piece)
    return replace(attachment, open=partial(_read, file), length_bytes=file.tell())


def _read(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while block := file.read(_BLOCK_BYTES):
        yield block
