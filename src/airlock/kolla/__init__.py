"""The only room that knows Kolla: its environment, its rendering, the reading of its Dockerfiles."""
