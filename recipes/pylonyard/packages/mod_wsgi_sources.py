"""mod_wsgi's sources: which version serves which Python, pinned by SHA-256."""

from dataclasses import dataclass

PROJECT = "mod_wsgi"


@dataclass(frozen=True)
class Source:
    """A release of mod_wsgi, and the Python versions for which it builds."""

    version: str
    sha256: str
    lowest: tuple[int, int]
    highest: tuple[int, int]


# The newest release that builds comes first.
SOURCES = [
    Source(
        "6.1.1",
        "a42d11ba45d2050ab456a474d034e938605ca76386233ef404daa8b0388ca60e",
        (3, 10),
        (3, 15),
    ),
    Source(
        "5.0.2",
        "6fe5557c3ef25c184c2c994905fe52be1c06ae5c46235ecafe558e84789e2159",
        (3, 8),
        (3, 12),
    ),
    Source(
        "4.9.4",
        "8e762662ea5b01afc386bbcfbaa079748eb6203ab1d6d3a3dac9237f5666cfc9",
        (2, 7),
        (3, 11),
    ),
]


def choose(python: tuple[int, int], version: str | None = None) -> Source:
    """Return the source for a Python version: the newest, or that of ``version``.

    :raises ValueError: if it is not known, or does not build for this Python
    """
    fitting = [source for source in SOURCES if source.lowest <= python <= source.highest]
    for source in fitting:
        if version in (None, source.version):
            return source
    wanted = " or ".join(source.version for source in fitting) or "a Python from 2.7 to 3.15"
    raise ValueError(
        f"expected {wanted} for Python {'.'.join(map(str, python))}, got {version or 'none'!r}"
    )


def filename(source: Source) -> str:
    return f"{PROJECT}-{source.version}.tar.gz"
