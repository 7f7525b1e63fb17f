"""Retries by tenacity, and the limits that adapt to the server: batch size and requests at once."""
