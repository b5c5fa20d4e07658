"""Which kind a name on the command line is of, and its class."""

from coalsim.errors import ConfigError
from coalsim.kits.kinds import Kind, kind_of, kinds
from coalsim.plugins import Asked, Registry, find_class, names_code


def found_kind(name: str, kind: str | None) -> tuple[Kind, type]:
    """The class of a name, and its kind.

    Args:
        name: of a class by file or module, or a registered one.
        kind: what it is said to be; None: whatever it is derived from.

    Raises:
        ConfigError: it does not load, or is of no kind.
    """
    every = kinds()
    if kind is not None:
        return every[kind], find_class(name, every[kind].registry, every[kind].asked())
    asked = Asked(where="coalsim plugins check", trust=True)
    if not names_code(name):
        for one in every.values():
            if name in one.registry.names():
                return one, find_class(name, one.registry, one.asked())
        raise asked.refuse(
            name, "no such class", "`coalsim plugins list` shows the names; or give ./file.py:Class"
        )
    anything: Registry[object] = Registry(kind="class", group="coalsim", classes={})
    owner = find_class(name, anything, asked)
    found = kind_of(owner)
    if found is None:
        raise _of_no_kind(name, asked)
    return found, find_class(name, found.registry, found.asked())


def _of_no_kind(name: str, asked: Asked) -> ConfigError:
    return asked.refuse(
        name,
        "derived from no base class of coalsim, so it is not clear what it is",
        f"derive it from the base class of its kind, or say --kind {'|'.join(kinds())}",
    )
