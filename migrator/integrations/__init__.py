"""The target in the worlds of others: a Singer target, a destination of dlt."""
