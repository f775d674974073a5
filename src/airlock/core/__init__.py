"""What every room stands on: errors, files, digests, canonical JSON, processes. Imports nothing of Airlock."""
