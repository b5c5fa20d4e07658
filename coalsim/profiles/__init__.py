"""Kernel profiles: which kernel is simulated, as switches and costs.

A profile is a name for one `Switches` and one table of costs, both read from a
TOML file in this folder.  Nothing here knows a machine: costs given in cycles
become picoseconds when `KernelProfile.costs` is told the machine's clock.
"""

from coalsim.profiles.costs import KernelCosts
from coalsim.profiles.profile import DEFAULT_PROFILE, KernelProfile, load_profile, profile_names
from coalsim.profiles.switches import Switches

__all__ = ["DEFAULT_PROFILE", "KernelCosts", "KernelProfile", "Switches", "load_profile", "profile_names"]
