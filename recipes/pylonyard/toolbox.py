"""Kept for scripts made before the modules moved."""

from pylonyard.environments.tools import bring, place  # noqa: F401
