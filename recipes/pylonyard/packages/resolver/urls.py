"""Requirements that name a file by its URL (PEP 508), such as ``shop @ file:///srv/shop.whl``."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pylonyard.packages import metadata
from pylonyard.packages.index import Offer
from pylonyard.packages.wheels import sha256
from pylonyard.system.errors import PylonyardError


def named(requirements: Iterable[str], dist: Path, *, offline: bool) -> dict[str, Offer]:
    """Return the file of each requirement with a URL, by canonical name.

    :param dist: the downloaded files
    :param offline: whether these are all that there are
    :raises PylonyardError: if one is no file of that distribution, or is not there
    """
    wanted = filter(lambda each: each.url, map(Requirement, requirements))
    found = {str(canonicalize_name(each.name)): _offer(each) for each in wanted}
    for name, offer in found.items():
        if offline and "://" in offer.url:
            place = dist / offer.name
            if not place.exists():
                raise PylonyardError(f"{name} @ {offer.url}: not in the cache {dist}")
            found[name] = Offer(str(place), offer.sha256)
    return found


def _offer(wanted: Requirement) -> Offer:
    url, fragment = urldefrag(wanted.url or "")
    parts = urlparse(url)
    if "+" in parts.scheme:
        raise _refused(wanted, "a repository", "clone it, and name the clone in sources")
    if parts.username or parts.password:
        shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        advice = "files would keep it; write it into ~/.netrc"
        raise PylonyardError(f"{wanted.name} @ {shown}: expected no password in a URL: {advice}")
    path = Path(unquote(parts.path))
    if parts.scheme == "file" and path.is_dir():
        raise _refused(wanted, "a folder", "name it in sources, or in develop")
    file = metadata.identified(path.name)
    if file is None or file.name != canonicalize_name(wanted.name):
        raise _refused(wanted, path.name or "no file", f"a file of {wanted.name} has its name")
    stated = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else None
    if parts.scheme != "file":
        return Offer(url, stated)
    if not path.is_file():
        raise PylonyardError(f"{wanted}: there is no such file")
    # As it is now: another one of this name is another choice.
    return Offer(str(path), stated or sha256(path))


def _refused(wanted: Requirement, got: str, advice: str) -> PylonyardError:
    expected = "expected the URL of a wheel or of a source archive"
    return PylonyardError(f"{wanted}: {expected}, got {got}; {advice}")


def without(requirement: str) -> str:
    """Return a requirement without its URL."""
    wanted = Requirement(requirement)
    if not wanted.url:
        return requirement
    extras = f"[{','.join(sorted(wanted.extras))}]" if wanted.extras else ""
    return f"{wanted.name}{extras}"


def at(requirement: str, dist: Path, files: Mapping[str, Offer]) -> str:
    """Return a requirement with the URL of its downloaded file, if it has one."""
    offer = files.get(str(canonicalize_name(Requirement(requirement).name)))
    return f"{without(requirement)} @ {(dist / offer.name).as_uri()}" if offer else requirement


def check_eggs(eggs: Path, dist: Path, files: Mapping[str, Offer]) -> None:
    """Refuse an egg of another file of the same version than the one that a URL names.

    :param dist: the folder that has the files
    :raises PylonyardError: naming the egg
    """
    for offer in files.values():
        if not offer.name.endswith(".whl"):
            continue
        text = metadata.described(dist / offer.name).read_text("RECORD")
        for egg in eggs.glob("{}-{}-*.egg".format(*offer.name.split("-"))):
            if metadata.described(egg).read_text("RECORD") != text:
                raise PylonyardError(
                    f"{egg}: expected the egg of {offer.url}, got that of another file of this "
                    "version; give the file a version of its own"
                )
