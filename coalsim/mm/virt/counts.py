"""What is counted of virtual memory: faults by their outcome, and what else happened."""


class VmCounts:
    """What happened, by kind; sums only."""

    OUTCOMES = (
        "anonymous",
        "zero_page",
        "cow_copies",
        "cow_reuses",
        "fills",
        "spurious",
        "lost_races",
        "bad_area",
        "bad_rights",
    )
    """What a fault can come to; each ends in one of them unless there is no memory."""

    FIELDS = (
        "faults",
        *OUTCOMES,
        "stack_growths",
        "vma_fallbacks",
        "tables_made",
        "tables_freed",
        "pages_zapped",
        "forks",
        "signals",
        "out_of_memory",
    )

    __slots__ = FIELDS

    faults: int
    anonymous: int
    zero_page: int
    cow_copies: int
    cow_reuses: int
    fills: int  # a place got a copy of an entry that another one has
    spurious: int
    lost_races: int  # faults that found their entry changed when they had its table's lock
    bad_area: int
    bad_rights: int
    stack_growths: int
    vma_fallbacks: int  # faults that found their area marked by a writer
    tables_made: int
    tables_freed: int
    pages_zapped: int
    forks: int
    signals: int
    out_of_memory: int

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        for name in self.FIELDS:
            setattr(self, name, 0)
