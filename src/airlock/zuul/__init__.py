"""What Airlock asks of a site's Zuul: enqueue a build, follow it, dequeue it."""
