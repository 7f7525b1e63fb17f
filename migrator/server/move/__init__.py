"""A whole server's move: one reviewed plan, and the move that does exactly what it says."""
