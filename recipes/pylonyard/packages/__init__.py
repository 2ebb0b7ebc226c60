"""Distributions: index, download, build, install, and what they hold, verified."""
