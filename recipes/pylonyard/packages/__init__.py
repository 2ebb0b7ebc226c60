"""Distributions: find, download, build, install and verify them."""
