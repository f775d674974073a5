"""A leaf that speaks to one Gerrit: its REST API, as far as seeding and looking up a commit need it."""
