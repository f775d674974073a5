"""Environment B's stores: import, status."""
