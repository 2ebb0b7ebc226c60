"""Kept for a pylonyard.egg-info made before the modules moved."""

from pylonyard.recipes.cron_restart import CronRestart  # noqa: F401
