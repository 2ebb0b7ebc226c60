"""Kept for a pylonyard.egg-info made before the modules moved."""

from pylonyard.recipes.site import Site  # noqa: F401
