"""Kept for scripts made before the modules moved."""

from pylonyard.buildout.main import main  # noqa: F401
