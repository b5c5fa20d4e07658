"""Kernels that lock, copy and flush in different ways, for what must hold on all of them."""

import pytest
from vm_bench import VmBench

KERNELS: dict[str, tuple[str, dict[str, str]]] = {
    "coal": ("coal", {}),
    "coal 32 bits": ("coal", {"geometry": "x86-32"}),
    "linux-3.5": ("linux-3.5", {}),
    "linux-6.18": ("linux-6.18", {}),
    "range lock": ("sv6", {}),
    "lazy": ("linux-6.0", {"table_replication": "lazy"}),
}


@pytest.fixture(params=KERNELS)
def bench(request: pytest.FixtureRequest) -> VmBench:
    """Each kernel."""
    return VmBench(*KERNELS[request.param])
