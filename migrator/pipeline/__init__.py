"""The one loop: read, transform, batch, load, account, and only then move the checkpoint."""
