"""How far a job is, and what it could not write: the checkpoint file and the reject file."""
