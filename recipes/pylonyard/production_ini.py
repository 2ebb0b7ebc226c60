"""Kept for a pylonyard.egg-info made before the modules moved."""

from pylonyard.recipes.production_ini import ProductionIni  # noqa: F401
