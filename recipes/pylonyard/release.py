"""Kept for a pylonyard.egg-info made before the modules moved."""

from pylonyard.recipes.release import Release  # noqa: F401
