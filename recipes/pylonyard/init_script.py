"""Kept for a pylonyard.egg-info made before the modules moved."""

from pylonyard.recipes.init_script import InitScript  # noqa: F401
