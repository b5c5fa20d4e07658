"""coalsim: what a kernel's memory manager costs on a big machine.

The functions `run`, `replay`, `timeline`, `validate`, `machine`, `results` and `summary` are the Python
interface (`coalsim.api`); they are imported when they are first used, so that
`import coalsim` costs next to nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coalsim.api import machine, replay, results, run, summary, timeline, validate

__version__ = "0.1.0"
__all__ = ["__version__", "machine", "replay", "results", "run", "summary", "timeline", "validate"]


def __getattr__(name: str) -> object:
    """Look a function of the interface up at its first use."""
    if name in __all__:
        from coalsim import api

        return getattr(api, name)
    raise AttributeError(f"module 'coalsim' has no attribute {name!r}")
