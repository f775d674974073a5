"""Ledger and build records: what was done, by whom, with what."""
