"""Which release a rollback goes to: environments, modes and accounts are told apart."""

from collections.abc import Mapping
from dataclasses import dataclass

from pylonyard import accounts
from pylonyard.activation import sources
from pylonyard.activation.commands import Activation
from pylonyard.activation.errors import ActivationError
from pylonyard.activation.note import Note, NotedSite, noted_sites
from pylonyard.releases import NoRelease

Sites = Mapping[str, NotedSite]

ON_PURPOSE = "--change-environment"


@dataclass(frozen=True)
class Standing:
    """What the sandbox is: that of what is active; where nothing is, of the current release."""

    release: int | None
    sites: Sites
    note: Note | None

    @classmethod
    def of(cls, activation: Activation) -> "Standing":
        """Return that of a sandbox.

        :raises ActivationError: if the note of what is active is not to be believed
        """
        note = activation.noted()
        if note is not None and note.release is not None:
            return cls(note.release, note.sites, note)
        current = activation.releases.current_number()
        return cls(current, {} if current is None else _sites(activation, current), None)


def earlier(activation: Activation, standing: Standing) -> int:
    """Return the last release before the current one that was active in this environment.

    Where nothing ever was active, or nobody wrote down what, the last one made for it.

    :raises NoRelease: if there is none
    """
    releases, note = activation.releases, standing.note
    current = releases.linked_number()
    before = [n for n in releases.numbers() if current is None or n < current]
    if not before:
        raise NoRelease("there is no earlier release to return to")
    active = {
        each.release
        for each in (note.history if note else ())
        if _is_alike(each.environments, standing.sites)
    }
    if was_active := [number for number in before if number in active]:
        return was_active[-1]
    made = [n for n in before if _is_alike(_environments(_sites(activation, n)), standing.sites)]
    if not made:
        raise NoRelease(f"there is no earlier release for {_told(standing.sites)} to return to")
    if note is not None and note.is_whole:
        raise NoRelease(
            f"no earlier release was active for {_told(standing.sites)} since the first "
            f"activation; to go to one that was not: bin/pylonyard rollback {made[-1]}"
        )
    return made[-1]


def expect_alike(
    activation: Activation, standing: Standing, number: int, *, may_change: bool = False
) -> None:
    """Check that a release makes of each site what it is.

    :param may_change: whether that is meant; the account of what is active stays all the same
    :raises ActivationError: naming both, and how it is done on purpose
    """
    target = _sites(activation, number)
    for name in sorted(target.keys() & standing.sites.keys()):
        here, there = standing.sites[name], target[name]
        command = f"bin/pylonyard rollback {number} {ON_PURPOSE}"
        is_kept = standing.note is not None and here.is_of_another(there)
        first = accounts.by_root("bin/pylonyard deactivate")
        way = f", first: {first}" if is_kept else f": {command}"
        if is_kept or (here.differs_from(there) and not may_change):
            raise ActivationError(
                f"{name} is {here} (release {standing.release}), and release {number} has it as "
                f"{there}; to change that on purpose{way}"
            )


def _sites(activation: Activation, number: int) -> Sites:
    try:
        return noted_sites(sources.described_sites(activation.releases.path(number)))
    except ActivationError:
        return {}


def _environments(sites: Sites) -> Mapping[str, str]:
    return {name: site.environment for name, site in sites.items()}


def _is_alike(environments: Mapping[str, str], sites: Sites) -> bool:
    """Tell whether each site has its environment, as far as that is known."""
    both = environments.keys() & sites.keys()
    pairs = ((environments[name], sites[name].environment) for name in both)
    return all(one == other or not one or not other for one, other in pairs)


def _told(sites: Sites) -> str:
    environments = dict.fromkeys(site.environment for site in sites.values())
    return ", ".join(filter(None, environments)) or "this environment"
