"""Libraries that only some reports need: what is said when one is not installed."""

from coalsim.errors import ConfigError, Problem


def missing_library(name: str, extra: str, what: str) -> ConfigError:
    """What to install for something that needs a library which is not there; `extra` is ours that has it."""
    message = f"{what} needs the library {name}, which is not installed"
    package = f'"coalsim[{extra}]"' if extra else name
    return ConfigError([Problem(message=message, remedy=f"install it with: pip install {package}")])
