"""Source archives, unpacked so that nothing is written elsewhere."""

import tarfile
import zipfile
from pathlib import Path

from pylonyard.errors import CommandError


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a tar or zip file that holds one folder; return that.

    :raises CommandError: if it is not such an archive, or would write elsewhere
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(folder)
        else:
            _unpack_tar(archive, folder)
        (tree,) = [path for path in folder.iterdir() if path.is_dir()]
    except (OSError, ValueError, tarfile.TarError) as error:
        raise CommandError(f"cannot unpack {archive}", str(error)) from error
    return tree


def _unpack_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as packed:
        members = packed.getmembers()
        for member in members:
            if member.name.startswith("/") or ".." in Path(member.name).parts:
                raise tarfile.TarError(f"{member.name} would be written outside")
        if hasattr(tarfile, "data_filter"):
            packed.extractall(folder, filter="data")
        else:
            # Python 3.11.2, which is Debian 12's: a link might lead elsewhere.
            plain = [member for member in members if member.isfile() or member.isdir()]
            packed.extractall(folder, plain)
