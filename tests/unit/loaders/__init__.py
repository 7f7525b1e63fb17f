"""Of the loaders."""
