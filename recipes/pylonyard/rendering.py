"""From options to text: no file but a template is read, none is written."""

import dataclasses
from functools import cache
from typing import TYPE_CHECKING, Any

from pylonyard import escaping

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def _templates() -> "Environment":
    # Imported here: a run that finds nothing to render need not pay for it.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("pylonyard"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for syntax in ("apache", "sh", "cron", "ini", "logrotate"):
        templates.filters[syntax] = getattr(escaping, syntax)
    return templates


def render(template: str, options: Any, **more: Any) -> str:
    """Return ``template`` filled with the fields of ``options`` and ``more``.

    :raises ValueError: if a value cannot be spelled in the template's syntax
    """
    fields = {f.name: getattr(options, f.name) for f in dataclasses.fields(options)}
    return _templates().get_template(template).render({**fields, **more})
