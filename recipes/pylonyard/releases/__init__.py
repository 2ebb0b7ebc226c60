"""Numbered, immutable releases: staged, validated, described, compared, current."""
