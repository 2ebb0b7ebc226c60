"""Forms: what somebody entered, and what is wrong with it."""

from collections.abc import Mapping

from pyramid.request import Request


class Form:
    """The values of a form, kept as they were entered, with an error for each bad one."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self.values = dict(values or {})
        self.errors: dict[str, str] = {}

    @property
    def valid(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.errors

    def get(self, name: str) -> str:
        """Return the value of a field."""
        return self.values.get(name, "")

    def refuse(self, name: str, message: str) -> None:
        """Note what is wrong with a field; the first error of a field is the one shown."""
        self.errors.setdefault(name, message)

    def require(self, name: str, message: str) -> None:
        """Refuse an empty field."""
        if not self.get(name):
            self.refuse(name, message)

    def limit(self, name: str, longest: int) -> None:
        """Refuse a field longer than ``longest``."""
        length = len(self.get(name))
        if length > longest:
            self.refuse(name, f"This is {length} characters long; {longest} are the most.")


def posted_form(request: Request, *names: str) -> Form:
    """Return the form with the fields ``names`` as it was sent, its texts tidied."""
    return Form({name: tidy(request.POST.get(name, "")) for name in names})


def refused(request: Request, status: int = 422) -> None:
    """Mark the response as one to a form that was not accepted."""
    request.response.status_int = status


def tidy(value: object) -> str:
    """Return an entered text with plain line ends and without characters nobody can see."""
    # A field sent as a file is no text.
    text = value if isinstance(value, str) else ""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    kept = "".join(character for character in text if character >= " " or character in "\n\t")
    return kept.strip("\n").rstrip()
