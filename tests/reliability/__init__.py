"""Long tests that are scripts, not part of the suite."""
