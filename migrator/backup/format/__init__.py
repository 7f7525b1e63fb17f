"""What a backup consists of: manifests, segments of leaves, their indexes, and how they are read and written."""
