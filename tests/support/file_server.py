"""A web server of one file: with parts or without, and with the faults that a test wants."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.support.stub_server import Asked, Reply, StubServer


@dataclass
class ServedFile:
    """What is served, and how.

    Args:
        data: the file.
        etag: its version; "" for none.
        in_parts: the server knows `Range`.
        chunked: the length is not said.
        cuts: of each answer that gives more than the beginning, after how many bytes it breaks off; None for not.
        replies: given before anything else.
        headers: more headers.
    """

    data: bytes
    etag: str = '"one"'
    in_parts: bool = True
    chunked: bool = False
    cuts: list[int | None] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)

    def reply(self, asked: Asked) -> Reply:
        """Answer a request."""
        if self.replies:
            return self.replies.pop(0)
        headers = {**self.headers, **({"ETag": self.etag} if self.etag else {})}
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.headers.get("Range", ""))
        if part is None or not self.in_parts or asked.headers.get("If-Range", self.etag) != self.etag:
            return self._sent(200, self.data, headers)
        begin, size = int(part[1]), len(self.data)
        end = min(int(part[2] or size) + 1, size)
        if begin >= size:
            return Reply(416, b"", {"Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
        return self._sent(206, self.data[begin:end], headers)

    def _sent(self, status: int, body: bytes, headers: Mapping[str, str]) -> Reply:
        is_look = status == 206 and len(body) <= 1024
        cut = self.cuts.pop(0) if self.cuts and not is_look else None
        if self.chunked:
            kept = body if cut is None else body[:cut]
            pieces = tuple(kept[at : at + 1000] for at in range(0, len(kept), 1000))
            return Reply(status, headers=headers, chunks=pieces, end=cut is None)
        return Reply(status, body, headers, cut=cut)


def ranges(server: StubServer) -> list[str]:
    """What was asked for beyond the first look."""
    asked = [each.headers.get("Range", "") for each in server.asked]
    return [each for each in asked if each != "bytes=0-1023"]
