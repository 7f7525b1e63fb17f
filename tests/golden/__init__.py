"""Texts that people and machines rely on, kept as files: UPDATE_GOLDEN=1 writes them again."""
