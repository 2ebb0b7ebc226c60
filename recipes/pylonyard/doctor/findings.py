"""What a check found."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's; ``ok`` is None for what could not be checked."""

    check: str
    ok: bool | None
    text: str
    advice: str = ""
    site: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def good(check: str, text: str) -> Finding:
    return Finding(check, True, text)


def bad(check: str, text: str, advice: str) -> Finding:
    return Finding(check, False, text, advice)


def unknown(check: str, why: str) -> Finding:
    return Finding(check, None, why)
