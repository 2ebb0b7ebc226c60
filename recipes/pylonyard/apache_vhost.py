"""Kept for a pylonyard.egg-info made before the modules moved."""

from pylonyard.recipes.apache_vhost import ApacheVhost  # noqa: F401
