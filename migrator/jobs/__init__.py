"""Whole jobs: opened from their options, planned, run, kept up to date, divided among workers."""
