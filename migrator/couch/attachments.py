"""Attachments inline in a document, without what the server adds to them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

# What the server takes an attachment for that says nothing of its type.
DEFAULT_CONTENT_TYPE = "application/octet-stream"


def with_plain_attachments(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with each attachment as type and data alone, the data in canonical base64.

    Digest, revpos, length and encoding are the server's own and differ between servers for equal content.
    """
    attachments = document.get("_attachments")
    if not isinstance(attachments, Mapping):
        return dict(document)
    plain = {name: _plain(value) if isinstance(value, Mapping) else value for name, value in attachments.items()}
    return {**document, "_attachments": plain}


def _plain(attachment: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {"content_type": attachment.get("content_type", DEFAULT_CONTENT_TYPE)}
    if isinstance(data := attachment.get("data"), str):
        try:
            plain["data"] = base64.b64encode(base64.b64decode(data)).decode()
        except (binascii.Error, ValueError):
            plain["data"] = data
    return plain
