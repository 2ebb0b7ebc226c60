"""The views, which answer requests."""
