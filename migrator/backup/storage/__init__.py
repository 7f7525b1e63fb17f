"""Where backups are kept: a folder, or any storage that fsspec knows."""
