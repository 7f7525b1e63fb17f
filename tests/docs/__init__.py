"""The documentation: its pages are read, run and built as a site."""
