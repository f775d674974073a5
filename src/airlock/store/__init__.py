"""Content-addressed files and the site's artifact store."""
