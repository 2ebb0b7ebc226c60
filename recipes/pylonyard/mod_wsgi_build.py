"""Kept for a pylonyard.egg-info made before the modules moved."""

from pylonyard.recipes.mod_wsgi_build import ModWsgiBuild  # noqa: F401
