"""Kept for a pylonyard.egg-info made before the modules moved."""

from pylonyard.recipes.pylons_app import PylonsApp  # noqa: F401
