"""The care of a server: compaction, least-privilege users, replications, and a doctor who names the remedy."""
