"""Of the extractors."""
