"""Converters, quoting, ini text, secrets, and the layout of a checkout."""
