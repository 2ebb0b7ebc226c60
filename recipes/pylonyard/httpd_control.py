"""Kept for scripts made before the modules moved."""

from pylonyard.webservers.apache.control import Httpd, main  # noqa: F401
