"""Forms: the entered values, and their errors."""

from collections.abc import Callable, Mapping
from typing import Any

from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.tweens import EXCVIEW

# The longest page has 100,000 characters, which a browser may send as 12 bytes each.
LONGEST_REQUEST = 2_000_000


class UnreadableFormError(ValueError):
    """The request has no valid form: an error of the client, not of the site."""


class TooLongError(ValueError):
    """The request is longer than anything that can be entered here."""


class Form:
    """The values of a form, kept as they were entered, with an error for each bad one."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self.values = dict(values or {})
        self.errors: dict[str, str] = {}

    @property
    def valid(self) -> bool:
        """Return whether nothing is wrong."""
        return not self.errors

    def get(self, name: str) -> str:
        """Return the value of a field."""
        return self.values.get(name, "")

    def refuse(self, name: str, message: str) -> None:
        """Add an error to a field; only the first error of a field is shown."""
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


def includeme(config: Configurator) -> None:
    """Read each form before any view does."""
    config.add_tween("simplesite.forms.reading_tween", under=EXCVIEW)


def reading_tween(handler: Callable[[Request], Any], registry: Any) -> Callable[[Request], Any]:
    """Return a handler that refuses what is no form; ``registry`` is not needed."""

    def handle(request: Request) -> Any:
        if (request.content_length or 0) > LONGEST_REQUEST:
            raise TooLongError
        try:
            request.POST  # noqa: B018  read here, so that its errors are known for what they are
        except (ValueError, LookupError, DeprecationWarning) as error:
            raise UnreadableFormError(str(error)) from error
        return handler(request)

    return handle
