"""Broken: vCPUs that the host has taken away are left to it, but it is not told."""

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.shootdown.linux import LinuxShootdown


class TrustsHost(LinuxShootdown):
    """Asks only those that run, and marks nobody."""

    def leave_to_host(self, cpu: Cpu, targets: list[Cpu]) -> Op[list[Cpu]]:
        yield from cpu.sync()
        vcpus = self.system.vcpus
        return (
            targets if vcpus is None else [target for target in targets if vcpus.runs(target.id, cpu.clock)]
        )
