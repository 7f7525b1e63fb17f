"""The bytes of an attachment: taken up where they broke off, and as many as the database told."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, cast

import pytest

from migrator.couch.bulk_get import MAX_CUT, StoredAttachments
from migrator.couch.client import CouchClient
from migrator.errors import TargetMissing, TransientError, UnreadableLeaf
from migrator.retry.retrier import Retrier

WHOLE = b"0123456789"


class Client:
    """Gives one answer after the other; an error in it is raised."""

    def __init__(self, *answers: list[bytes | Exception]) -> None:
        self._answers: Iterator[list[bytes | Exception]] = iter(answers)
        self.asked = 0

    def stream(self, _what: str, *_path: str, params: dict[str, str]) -> Generator[bytes]:
        """The next answer."""
        assert params == {"rev": "1-a"}
        self.asked += 1
        for piece in next(self._answers):
            if isinstance(piece, Exception):
                raise piece
            yield piece


def opened(client: Client) -> bytes:
    """The attachment's bytes."""
    retrier = Retrier(sleep=lambda _s: None)
    stored = StoredAttachments(cast("CouchClient", client), "db", retrier)
    stubs: dict[str, Any] = {"a.bin": {"length": len(WHOLE)}}
    return b"".join(stored.of("x", "1-a", stubs)[0].open())


def test_what_breaks_off_is_taken_up() -> None:
    """However often, and nothing comes twice."""
    broken = TransientError("broke off")
    breaks: list[list[bytes | Exception]] = [[WHOLE[:2], WHOLE[2:number], broken] for number in range(2, 10)]
    client = Client([broken], *breaks, [WHOLE])
    assert opened(client) == WHOLE
    assert client.asked == 10


def test_what_is_cut_short_is_taken_up() -> None:
    """An answer that looks whole is not believed."""
    assert opened(Client([WHOLE[:4]], [], [WHOLE])) == WHOLE


@pytest.mark.parametrize(("answer", "asked"), [([WHOLE[:4]], MAX_CUT), ([WHOLE, b"more"], 1)])
def test_another_length_is_the_leaf_s_own_fault(answer: list[bytes | Exception], asked: int) -> None:
    """When it stays so, and at once where there is more than was told."""
    client = Client(*[answer] * MAX_CUT)
    with pytest.raises(UnreadableLeaf, match="bytes came in place of 10") as raised:
        opened(client)
    assert raised.value.error == "wrong_length"
    assert client.asked == asked


def test_one_that_is_gone_is_the_leaf_s_own_fault() -> None:
    """Somebody compacted it away."""
    with pytest.raises(UnreadableLeaf) as raised:
        opened(Client([TargetMissing("gone")]))
    assert raised.value.error == "attachment_missing"
