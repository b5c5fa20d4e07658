"""The temporary file that a testcase makes for each of its tasks: sparse, and never read by others.

mkstemp, ftruncate and unlink come before the measurement and take no time here.  The file is one of
a file system that writes to a device: it wants to know of a first write to a shared page.  On tmpfs,
where the testcases' /tmp often is, that step is missing.
Source: will-it-scale, tests/page_fault2.c and its siblings (Blanchard).
"""

from coalsim.mm.cache.file import File
from coalsim.units import MIB, PAGE_SIZE, CpuId
from coalsim.workloads.base import VirtualHost
from coalsim.workloads.vm.room import check_addresses, check_memory
from coalsim.workloads.vm.team import Team

Files = dict[CpuId, File]
"""By the processor of the task."""


def temp_files(host: VirtualHost, team: Team, name: str, mib: int, *, frames_per_page: int) -> Files:
    """A file of so many MiB for each task.

    Args:
        host: the system.
        team: whose tasks.
        name: of the load.
        mib: length of a file.
        frames_per_page: how many a page of a file needs at once: its own and a copy.

    Raises:
        ConfigError: it all fits neither into memory, unless that is reclaimed, nor into addresses.
    """
    pages = mib * MIB // PAGE_SIZE
    if not host.vm.kernel.switches.reclaim:
        check_memory(host.machine, team.cpus * pages * frames_per_page, "workload.mib", mib)
    check_addresses(host, team.sharers * pages, "workload.mib", mib)
    cache = host.vm.kernel.cache
    return {cpu: cache.new_file(f"{name}.{cpu}", pages, is_sparse=True) for cpu in team.chosen(host.machine)}
