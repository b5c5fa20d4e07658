"""What faults of all kinds are called: where their time goes, and what they end in."""

FAULT = "fault"
CHARGE = "memcg"
NO_AREA = "SIGSEGV: no memory is mapped there (SEGV_MAPERR)"
NO_RIGHT = "SIGSEGV: the area does not allow it (SEGV_ACCERR)"
NO_MEMORY = "SIGKILL: out of memory"
