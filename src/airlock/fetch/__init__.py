"""Talking to upstreams: downloads that resume, and the witness that records what was solved against."""
