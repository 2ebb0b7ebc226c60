"""Why something was not activated."""


class ActivationError(Exception):
    """What a person can do something about, in one line."""
