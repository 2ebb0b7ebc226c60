"""Isolated environments of applications and tools, and the scripts that start them."""
