"""Kept for scripts made before the modules moved."""

from pylonyard.commands.main import main  # noqa: F401
