"""What a source, target or transformer can do beyond its protocol: each declares it, and nothing is guessed.

A stage that declares nothing works, with the defaults named here. Wrappers (`pipeline/wrapper`) have all of it and
pass on what the inner stage has, so everybody else calls the wrapper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from migrator.model import Batch, EncodedDocument, Outcome, Position, Record, Transformer

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Traits:
    """What a source or target is like, as its attribute `traits`.

    Args:
        couchdb: it is a CouchDB server. A source then has the design documents too; a target is contacted before
            anything else is done, its databases are created once, and several workers may write into one.
        prefers_sorted: a target that takes less time and space when ids ascend.
        repeatable: a later run can go on from where this one was interrupted; not from a pipe or to one.
        writes_files: a target that is a folder on this machine.
    """

    couchdb: bool = False
    prefers_sorted: bool = False
    repeatable: bool = True
    writes_files: bool = False


@dataclass(frozen=True, slots=True)
class Effect:
    """What a transformer does to ids, as its attribute `effect`.

    Args:
        keeps_id: it never changes `_id`, so documents in order stay in order.
        makes_id: it gives documents their `_id`.
        stable_id: a document whose content changes keeps its id.
        same_each_run: what it makes of a document is the same in each run.
    """

    keeps_id: bool = False
    makes_id: bool = False
    stable_id: bool = True
    same_each_run: bool = True


NO_EFFECT = Effect(keeps_id=True)


@runtime_checkable
class HasTraits(Protocol):
    """A source or target that declares what it is like."""

    traits: Traits


@runtime_checkable
class HasEffect(Protocol):
    """A transformer that declares what it does to ids."""

    effect: Effect


@runtime_checkable
class PerRun(Protocol):
    """What a factory gives in place of a transformer that depends on the run."""

    def in_run(self, seed: bytes, started_ms: int) -> Transformer:
        """The transformer of one run.

        Args:
            seed: random bytes that belong to the run and are kept for its resumption.
            started_ms: when the run began, in milliseconds since 1970.
        """


@runtime_checkable
class Unconfirmed(Protocol):
    """A stage that can say what it could not make sure of."""

    @property
    def unconfirmed(self) -> Sequence[str]:
        """What could not be made sure of, as sentences."""


@runtime_checkable
class Located(Protocol):
    """A source that names its positions for people, such as file and line."""

    def describe_position(self, collection: str, position: Position) -> str:
        """The place of the record that the position stands after."""


@runtime_checkable
class Measured(Protocol):
    """A source that knows how much of a collection stands before a position, such as by the bytes of a file."""

    def share(self, collection: str, position: Position | None) -> float | None:
        """From 0 to 1; None where it cannot say."""


@runtime_checkable
class Addressed(Protocol):
    """A source whose collections are databases of a server."""

    def address(self, collection: str) -> str:
        """The database's URL, without credentials."""


@runtime_checkable
class Destined(Protocol):
    """A source whose documents were meant for certain databases before, such as a reject file."""

    @property
    def databases(self) -> Mapping[str, str]:
        """The database or file by collection; what is not in it goes by the usual rule."""


@runtime_checkable
class Divisible(Protocol):
    """A source whose collections can be read in ranges, by several workers."""

    def size(self, collection: str) -> int:
        """Documents or bytes, the same of all its collections: only the proportion counts."""

    def bounds(self, collection: str, parts: int, min_rows: int) -> Sequence[Position]:
        """Positions that divide a collection into about `parts` ranges of at least `min_rows` records."""

    def extract_range(self, collection: str, after: Position | None, upto: Position) -> Iterator[Record]:
        """Yield what comes after one position, up to and with another."""


@runtime_checkable
class NeedsIds(Protocol):
    """A source that refuses documents without an id, unless a transformer makes the ids."""

    ids_given: bool


@runtime_checkable
class Surveyable(Protocol):
    """A target that can say what is there."""

    def survey(self, collection: str) -> int:
        """How many documents are there; -1 where there is no database or file yet."""


@runtime_checkable
class Previewing(Protocol):
    """A target that knows, by reading only, what `load` would do."""

    def preview(self, batch: Batch) -> Sequence[Outcome]:
        """The outcomes that `load` would give."""


@runtime_checkable
class Recognizing(Protocol):
    """A target that knows at a glance most documents that it takes as they are."""

    def recognize(self, text: bytes) -> EncodedDocument | None:
        """The document of a text without a line break; None where it has to be parsed and screened."""

    def takes(self, document: EncodedDocument) -> bool:
        """True where a document that was recognized elsewhere needs no more screening here."""


@runtime_checkable
class Identified(Protocol):
    """A target that can be told from a later one of the same name."""

    def identity(self, collection: str) -> str | None:
        """A text that changes with the target; "" where there is none, None where nobody can say."""


@runtime_checkable
class Emptiable(Protocol):
    """A target that can say that nothing is left in it."""

    def is_empty(self, collection: str) -> bool:
        """True when it surely holds no document."""


def traits_of(stage: object) -> Traits:
    """What a source or target declares."""
    return stage.traits if isinstance(stage, HasTraits) else Traits()


def effect_of(transformer: object) -> Effect:
    """What a transformer declares; None stands for no transformer."""
    if transformer is None:
        return NO_EFFECT
    return transformer.effect if isinstance(transformer, HasEffect) else Effect()


def with_effect(transformer: F, effect: Effect) -> F:
    """Declare what a transformer does to ids."""
    transformer.effect = effect  # type: ignore[attr-defined] # a function takes any attribute
    return transformer


class Unknowing:
    """Recognizes nothing: every text has to be parsed and screened."""

    def recognize(self, text: bytes) -> EncodedDocument | None:  # noqa: ARG002
        """None."""
        return None

    def takes(self, document: EncodedDocument) -> bool:  # noqa: ARG002
        """False."""
        return False


def recognizer_of(loader: object) -> Recognizing:
    """The target, where it recognizes documents; else what recognizes none."""
    return loader if isinstance(loader, Recognizing) else Unknowing()


def unconfirmed_of(*stages: object) -> tuple[str, ...]:
    """What stages could not make sure of, each sentence once."""
    sentences = [text for stage in stages if isinstance(stage, Unconfirmed) for text in stage.unconfirmed]
    return tuple(dict.fromkeys(sentences))
