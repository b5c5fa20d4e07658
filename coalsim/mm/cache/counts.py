"""What is counted of files, under the names of /proc/vmstat where it has one."""


class FileCounts:
    """What happened; sums only."""

    OUTCOMES = (
        "read_faults",
        "private_writes",
        "private_copies",
        "shared_writes",
        "made_writable",
        "bus_errors",
    )
    """What a fault on a file's page can come to beside those of any fault."""

    FIELDS = (
        "pgmajfault",
        "pgpgin",
        "pgpgout",
        *OUTCOMES,
        "pages_around",
        "retries",
        "pgscan_kswapd",
        "pgscan_direct",
        "pgsteal_kswapd",
        "pgsteal_direct",
        "pgactivate",
        "pgdeactivate",
        "pages_unmapped",
        "reclaim_flushes",
        "pending_flushes",
    )

    __slots__ = FIELDS

    pgmajfault: int  # faults that had to read from the device
    pgpgin: int  # KiB
    pgpgout: int  # KiB
    read_faults: int  # over, however often they had to wait
    pages_around: int  # mapped by faults on their neighbours
    private_writes: int  # to pages that were not mapped: copied at once
    private_copies: int  # to pages that were mapped for reading: copied with a flush
    shared_writes: int  # to pages that were not mapped
    made_writable: int  # shared pages that were mapped for reading
    retries: int  # faults that gave up their locks to wait for a page
    bus_errors: int
    pgscan_kswapd: int
    pgscan_direct: int
    pgsteal_kswapd: int
    pgsteal_direct: int
    pgactivate: int
    pgdeactivate: int
    pages_unmapped: int  # entries that reclaim has cleared
    reclaim_flushes: int  # for those
    pending_flushes: int  # by others, who found entries that reclaim had cleared and not flushed yet

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        for name in self.FIELDS:
            setattr(self, name, 0)
