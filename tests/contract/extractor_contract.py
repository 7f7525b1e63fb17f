"""The public suite for extractors, under its name in these tests."""

from migrator.testing.extractors import DOCUMENTS, ExtractorContract, Source, by_id, documents_of

__all__ = ["DOCUMENTS", "ExtractorContract", "Source", "by_id", "documents_of"]
