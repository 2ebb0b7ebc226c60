"""Wheels that hold metadata only: for what the standard library has taken over.

A distribution that is no longer to be had, such as ``elementtree``, may still be
required by an old one, though Python brings its modules.  An empty distribution
of that name satisfies the requirement.
"""

import base64
import hashlib
import zipfile
from pathlib import Path


def make(folder: Path, name: str, version: str) -> Path:
    """Write a wheel of the distribution ``name`` that installs no module."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        "Summary: Provided by the standard library\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: pylonyard\nRoot-Is-Purelib: true\n"
        "Tag: py2-none-any\nTag: py3-none-any\n",
        f"{info}/top_level.txt": "\n",
    }
    record = "".join(f"{path},{_digest(text)},{len(text)}\n" for path, text in files.items())
    wheel = folder / f"{stem}-py2.py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return wheel


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
