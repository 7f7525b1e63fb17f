"""Of the transformers."""
