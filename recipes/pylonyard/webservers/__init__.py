"""One folder a web server."""
