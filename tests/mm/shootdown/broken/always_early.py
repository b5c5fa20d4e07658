"""Broken: targets answer before they flush even where tables are freed, which a walker may still read."""

from coalsim.mm.shootdown.linux import EarlyAcknowledgement
from coalsim.mm.shootdown.request import Flush


class AlwaysEarly(EarlyAcknowledgement):
    """Early acknowledgement without its exception."""

    def answers_early(self, request: Flush) -> bool:
        return True
