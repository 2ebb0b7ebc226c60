"""Kept for scripts made before the modules moved."""

from pylonyard.watchers.cron import main  # noqa: F401
