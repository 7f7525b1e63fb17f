"""What a run did, for people and machines: report, history, progress, logs, and a page of HTML."""
