"""Backups: where they are kept, what lies in them, how they are written, read, checked and pruned."""
