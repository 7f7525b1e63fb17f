"""An extractor of .ini files, a transformer and a loader for `migrator`."""
