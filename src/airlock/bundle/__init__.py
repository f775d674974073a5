"""The versioned delivery: write it, verify it."""
