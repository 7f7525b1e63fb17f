"""A whole server: its administration, and its move to another."""
