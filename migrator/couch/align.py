"""Waits until each copy of a database has pushed what it holds to each other, by the nodes' own notes of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from migrator.couch.client import CouchClient
from migrator.couch.responses import Answer
from migrator.errors import TransientError
from migrator.retry.retrier import repeat_while

# Copies that push nothing more for so long are not waited for, nor is a node that stays away.
PATIENCE_S = 15.0
NODE_PATIENCE_S = 10.0
# A node that starts can take a question and never answer it (CouchDB 3.5): it is asked again after this.
NODE_ANSWER_S = 4.0
# Then what is waited for can have been purged.
PURGED_S = 1.0
FIRST_PAUSE_S, MAX_PAUSE_S = 0.02, 0.5
# A push that failed is started again by the server after five seconds, by us after these.
PUSH_AGAIN_S = 2.0
REFUSED = frozenset({401, 403})
UNKNOWN_HERE = frozenset({400, 404, 405, 501})
CHECKPOINTS = "_local/shard-sync-"


class Copy(NamedTuple):
    """One copy of a shard: the node that has it, and its file's name."""

    node: str
    shard: str


class Impossible(Exception):
    """The copies cannot be compared; the text says why."""


@dataclass
class Alignment:
    """One database whose copies are brought together.

    Args:
        client: the server.
        database: its name.
        sleep: waits.
        clock: seconds.
    """

    client: CouchClient
    database: str
    sleep: Callable[[float], None]
    clock: Callable[[], float]
    # What each copy held at the beginning: its own id, and its last change.
    held: dict[Copy, tuple[str, int]] = field(default_factory=dict)
    # What is still to be pushed, by the copy that pushes and the one that gets it; and how far each has come.
    waiting: set[tuple[Copy, Copy]] = field(default_factory=set)
    pushed: dict[tuple[Copy, Copy], int] = field(default_factory=dict)
    # Nodes that left a question without an answer: they are asked no more in this round. Whether any has answered.
    silent: set[str] = field(default_factory=set)
    heard: bool = False

    def align(self) -> None:
        """Return when all copies have pushed what they held.

        Raises:
            Impossible: that cannot be found out, or does not come to an end.
            TransientError: the server is out of reach.
        """
        began = moved = self.clock()
        asked = float("-inf")
        shards = self._shards()
        away = {copy for shard in shards for copy in shard}
        pause = FIRST_PAUSE_S
        while True:
            self.silent.clear()
            self.heard = False
            found = {copy for copy in sorted(away) if self._look(copy)}
            away -= found
            self.client.absent_nodes -= {copy.node for copy in found}
            for shard in shards:
                self.waiting |= {
                    (one, other)
                    for one in shard
                    for other in shard
                    if one != other and {one, other} & found and not {one, other} & away
                }
            if self._read_checkpoints() or found:
                moved = self.clock()
            if self.silent and not self.heard:
                # The server itself may be out of reach: then the caller tries again.
                self._shards()
            now = self.clock()
            if not self.waiting and not away:
                return
            nodes = {copy.node for copy in away}
            # A node that did not come back is not waited for again for the next database.
            late, away_long = now - moved > PATIENCE_S, now - began > NODE_PATIENCE_S
            alone = not self.waiting and (away_long or nodes <= self.client.absent_nodes)
            if alone:
                self.client.absent_nodes |= nodes
                raise Impossible(f"those on {', '.join(sorted(nodes))} are out of reach")
            if late:
                raise Impossible(f"they did not come together within {PATIENCE_S:g} s")
            if now - moved > PURGED_S:
                self._leave_out_purged()
            if now - asked > PUSH_AGAIN_S:
                self._push()
                asked = now
            self.sleep(pause)
            pause = min(pause * 1.5, MAX_PAUSE_S)

    def _push(self) -> None:
        """Ask the server to push what copies lack of each other; it says at once that it will."""
        with suppress(TransientError):
            self._allowed(self.client.call("POST", self.database, "_sync_shards", body=b"{}"))

    def _shards(self) -> list[list[Copy]]:
        """The copies of each shard."""
        ask = partial(self.client.call, "GET", "_node", "_local", "_dbs", self.database)
        # A node learns of a new database a moment after the one that made it.
        answer = repeat_while(lambda found: found.status == 404, ask, max_attempts=5, sleep=self.sleep)
        if self._allowed(answer).status != 200:
            raise TransientError(f"Reading where {self.database} lies: {answer.status}.", status=answer.status)
        value = answer.json(f"Reading where {self.database} lies")
        try:
            suffix = bytes(value["shard_suffix"]).decode()
            ranges: Mapping[str, Sequence[str]] = value["by_range"]
            return [
                [Copy(str(node), f"shards/{name}/{self.database}{suffix}") for node in nodes]
                for name, nodes in ranges.items()
            ]
        except (TypeError, KeyError, ValueError, AttributeError):
            raise Impossible("where they lie is told in a way that is not known") from None

    def _look(self, copy: Copy) -> bool:
        """Note what a copy holds; False while it is out of reach."""
        info = self._of(copy)
        if info is None:
            return False
        uuid, seq = info.get("uuid"), info.get("update_seq")
        if not isinstance(seq, int) or not isinstance(uuid, str):
            raise Impossible("what they hold is told in a way that is not known")
        self.held[copy] = (uuid, seq)
        return True

    def _leave_out_purged(self) -> None:
        """Wait for a copy's last change only: its `update_seq` moves with purges too, which leave no change."""
        for copy in {one for one, _ in self.waiting}:
            rows = (self._of(copy, "_changes", descending="true", limit="1") or {}).get("results")
            if isinstance(rows, list):
                uuid, seq = self.held[copy]
                self.held[copy] = (uuid, min(seq, rows[0]["seq"] if rows else 0))

    def _read_checkpoints(self) -> bool:
        """Look how far the pushes have come that are waited for; True when one has moved."""
        moved = False
        for source in sorted({one for one, _ in self.waiting}):
            uuid, wanted = self.held[source]
            done = self._checkpoints(source, uuid) if wanted else {}
            for pair in [pair for pair in self.waiting if pair[0] == source]:
                seq = done.get(self.held[pair[1]][0], 0)
                if seq > self.pushed.get(pair, 0):
                    self.pushed[pair] = seq
                    moved = True
                if seq >= wanted:
                    self.waiting.discard(pair)
                    moved = True
        return moved

    def _checkpoints(self, source: Copy, uuid: str) -> dict[str, int]:
        """The last change that a copy has pushed, by the id of the copy that got it."""
        names = {"startkey": f'"{CHECKPOINTS}"', "endkey": f'"{CHECKPOINTS}~"', "include_docs": "true"}
        value = self._of(source, "_local_docs", **names) or {}
        done: dict[str, int] = {}
        for row in value.get("rows", ()):
            document = row.get("doc") or {}
            history = (document.get("history") or {}).get(source.node) or [{}]
            seq, target = document.get("seq"), document.get("target_uuid")
            # Those of its opposite direction lie there too.
            if history[0].get("source_uuid") == uuid and isinstance(seq, int) and isinstance(target, str):
                done[target] = max(seq, done.get(target, 0))
        return done

    def _of(self, copy: Copy, *path: str, **params: str) -> dict[str, Any] | None:
        """What a node answers of its own copy; None while it does not."""
        if copy.node in self.silent:
            return None
        where = ("_node", copy.node, copy.shard, *path)
        try:
            answer = self.client.call("GET", *where, params=params, read_timeout_s=NODE_ANSWER_S)
            if answer.status in REFUSED:
                self._allowed(answer)
            # Another one: the node is down, or has not made its copy yet.
            value = answer.json(f"Looking at {copy.shard} on {copy.node}") if answer.status == 200 else None
        except TransientError:
            # One question of many: it comes again with the next round.
            self.silent.add(copy.node)
            return None
        self.heard = True
        return value if isinstance(value, dict) else None

    def _allowed(self, answer: Answer) -> Answer:
        if answer.status in REFUSED:
            raise Impossible("only a server admin may compare them")
        if answer.status in UNKNOWN_HERE:
            raise Impossible("it does not let them be compared")
        return answer
