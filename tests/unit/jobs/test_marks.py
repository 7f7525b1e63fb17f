"""Where the next run of a following job begins: behind what is settled, never behind what was not read."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrator.checkpoint.file import Checkpoint, CheckpointFile
from migrator.errors import CheckpointError
from migrator.jobs.marks import KEY, MAX_REMEMBERED, Mark, read_marks
from migrator.model import Reject


def reject(id: str, error: str = "forbidden") -> Reject:
    return Reject("orders", id, "load", error, "no")


@pytest.mark.parametrize(
    ("mark", "position", "expected"),
    [
        (Mark(None, "5-a"), "z9", "5-a"),
        (Mark(None, "5-a"), None, "5-a"),
        (Mark("5-a", "9-b", again=True), "7-c", "7-c"),
        (Mark("5-a", "9-b", again=True), None, "5-a"),
        (Mark("5-a", "9-b", again=True, stays=True), "7-c", "5-a"),
        (Mark(None, "5-a", stays=True), "z9", None),
    ],
    ids=["after all", "after all of nothing", "after changes", "after none", "changes again", "all again"],
)
def test_the_next_run_begins_behind_what_was_read(mark: Mark, position: object, expected: str | None) -> None:
    """The sequence noted before all was read, then that after the last page; the source's newest never counts."""
    assert mark.following(position, "99-now", retry=True).since == expected


def test_what_was_rejected_is_read_first_by_the_next_run() -> None:
    """Once a name, and while following it waits for the next run of the command."""
    mark = Mark("5", "9", again=True, retried=["a"])
    for id in ("b", "a", "b"):
        mark.note(reject(id), ids_are_kept=True)
    following = mark.following("7", "9", retry=True)
    assert (following.retried, following.rejected, following.stays) == (["b", "a"], [], False)
    following = mark.following("7", "9", retry=False)
    assert (following.retried, following.rejected) == ([], ["a", "b"])


@pytest.mark.parametrize(
    ("mark", "rejects", "kept"),
    [
        (Mark("5", "9", again=True), [reject("")], True),
        (Mark("5", "9", again=True), [reject("x" * 5_000)], True),
        (Mark("5", "9", again=True), [reject("a")], False),
        (Mark("5", "9", again=True), [reject(str(n)) for n in range(MAX_REMEMBERED + 1)], True),
        (Mark(None, "9"), [reject("a", "conflict")], True),
    ],
    ids=["no id", "a huge id", "another id at the target", "too many", "documents of others"],
)
def test_what_cannot_be_remembered_is_read_again(mark: Mark, rejects: list[Reject], kept: bool) -> None:
    """Then the mark stays where it is, and nothing is passed over."""
    for each in rejects:
        mark.note(each, ids_are_kept=kept)
    assert mark.stays
    assert mark.following("7", "9", retry=True).since == mark.since
    assert len(mark.rejected) <= MAX_REMEMBERED


def test_a_conflict_over_own_copies_is_remembered() -> None:
    """A later run may win the race that this one lost."""
    mark = Mark(None, "9", again=True)
    mark.note(reject("a", "conflict"), ids_are_kept=True)
    assert (mark.rejected, mark.stays) == (["a"], False)


def test_marks_are_kept_and_read_back(tmp_path: Path) -> None:
    """As they are when the checkpoint is saved, all of them."""
    checkpoint = Checkpoint(job={})
    marks = {"orders": Mark(None, "5-a", "1", "2", True, ["a"], ["b"], True), "users": Mark("7", "8")}
    checkpoint.details[KEY] = marks
    marks["users"].note(reject("a"), ids_are_kept=True)
    file = CheckpointFile(tmp_path / "c.json")
    file.save(checkpoint)
    assert read_marks(file.load()) == marks
    assert read_marks(None) == read_marks(Checkpoint(job={})) == {}


@pytest.mark.parametrize(
    "damage", [[], {"orders": 5}, {"orders": {"since": 5, "until": "6"}}, {"orders": {"x": 1}}]
)
def test_damaged_marks_are_named(damage: object) -> None:
    """Exit 6 with the way out, never a run from nowhere."""
    checkpoint = Checkpoint(job={})
    checkpoint.details[KEY] = damage
    with pytest.raises(CheckpointError, match="with restart=True"):
        read_marks(checkpoint)
