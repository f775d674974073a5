"""Demands, resolvers, the lock, and the proof that it is complete."""
