"""From options to text: no file but a template is read, none is written."""

import dataclasses
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pylonyard.config import quoting

if TYPE_CHECKING:
    from jinja2 import BytecodeCache, Environment


PACKAGE = Path(__file__).parents[1]
FOLDERS = ("recipes", "webservers/apache")
"""Where templates stand: beside what renders them."""


@cache
def _templates() -> "Environment":
    # Imported here: a run that finds nothing to render need not pay for it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader([PACKAGE / folder for folder in FOLDERS]),
        bytecode_cache=_bytecode_cache(),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for syntax in ("apache", "sh", "cron", "ini", "logrotate"):
        templates.filters[syntax] = getattr(quoting, syntax)
    return templates


def _bytecode_cache() -> "BytecodeCache | None":
    """Return where compiled templates are kept: beside compiled modules, if we may."""
    from jinja2 import FileSystemBytecodeCache

    folder = Path(__file__).with_name("__pycache__")
    if not os.access(folder, os.W_OK):
        return None
    return FileSystemBytecodeCache(str(folder), "template-%s.cache")


def render(template: str, options: Any, **more: Any) -> str:
    """Return ``template`` filled with the fields of ``options`` and ``more``.

    :raises ValueError: if a value cannot be spelled in the template's syntax
    """
    fields = {f.name: getattr(options, f.name) for f in dataclasses.fields(options)}
    return _templates().get_template(template).render({**fields, **more})
