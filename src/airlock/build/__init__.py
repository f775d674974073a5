"""The sealed build: what runs in the room, what is published, what is recorded."""
