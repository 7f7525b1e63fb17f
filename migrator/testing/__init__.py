"""The suites that every extractor, loader and transformer passes, for tests of your own; they need pytest alone.

Subclass a contract in a test module and give it what it asks for as a fixture; `docs/plugins.md` shows each.
`MemoryLoader` is a target for tests of a source or a transformer, in a whole job and without a server.
"""

from migrator.testing.extractors import DOCUMENTS, ExtractorContract, Source, by_id, documents_of
from migrator.testing.loaders import LoaderContract, Target
from migrator.testing.memory import MemoryLoader, batch_of, load_all
from migrator.testing.transformers import EXAMPLES, TransformerContract, same, transformed

__all__ = [
    "DOCUMENTS",
    "EXAMPLES",
    "ExtractorContract",
    "LoaderContract",
    "MemoryLoader",
    "Source",
    "Target",
    "TransformerContract",
    "batch_of",
    "by_id",
    "documents_of",
    "load_all",
    "same",
    "transformed",
]
