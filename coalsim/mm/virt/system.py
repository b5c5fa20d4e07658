"""The face of virtual memory: processes are made here, tasks started and ended.

    new_process -> run_task (before the run) or fork, spawn (in it) -> ... -> last task ends: torn down

Roots of processes made before the run are made by their first task, in simulated time.
"""

from collections.abc import Callable
from contextlib import suppress

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.operation import abandon
from coalsim.cpus.runqueue import Thread
from coalsim.engine.clock import Op
from coalsim.mm.paging.entry import pfn_of
from coalsim.mm.shootdown.system import FlushCounts, Recorder
from coalsim.mm.virt.fork import tear_down
from coalsim.mm.virt.image import load_image, map_image
from coalsim.mm.virt.kernel import VmKernel
from coalsim.mm.virt.process import Process
from coalsim.mm.virt.rss import RSS_LINE
from coalsim.mm.virt.space import AddressSpace
from coalsim.mm.virt.task import Body, Task, TaskKilled
from coalsim.units import CpuId, Pfn

FIRST_PID = 1


class VirtualMemory:
    """All processes of a machine.

    Args:
        kernel: everything below.
        new_thread: makes a thread that counts for the end of the run.
        put: gives a processor a thread, before the run.
    """

    def __init__(
        self,
        kernel: VmKernel,
        new_thread: Callable[[str, Op[None]], Thread],
        put: Callable[[CpuId, Thread], None],
    ) -> None:
        self.kernel = kernel
        self.processes: list[Process] = []
        self.around: Callable[[Cpu, str, Op[None]], Op[None]] | None = None  # what every thread begins with
        self._new_thread = new_thread
        self._put = put

    # -- before the run ----------------------------------------------------------------------

    def new_process(self, name: str) -> Process:
        """A process with a program's image; its first task writes what exec writes."""
        process = self.new_bare_process(name)
        map_image(process.space)
        process.is_loaded = False
        return process

    def new_bare_process(self, name: str) -> Process:
        """A process with an empty address space."""
        return self._register(Process(self._next_pid(), name, AddressSpace(self.kernel), self))

    def run_task(self, process: Process, cpu_id: CpuId, name: str, body: Body) -> Task:
        """Start a task of a process on a processor; before the run."""
        task = Task(process, self.kernel.cpus[cpu_id], name)
        self.start(task, body)
        assert task.thread is not None, "it has just been started"
        self._put(cpu_id, task.thread)
        return task

    # -- for tasks -----------------------------------------------------------------------------

    def adopt(self, space: AddressSpace, name: str, parent: Process) -> Process:
        """A child process with that space."""
        child = self._register(Process(self._next_pid(), name, space, self))
        child.parent = parent
        parent.children.append(child)
        return child

    def start(self, task: Task, body: Body) -> None:
        """Give the task its thread."""
        process = task.process
        if process.is_victim:
            body = Task.die_killed  # the signal that the OOM killer sent before is for it, too
        process.tasks.append(task)
        process.running += 1
        life = self._life(task, body)
        if self.around is not None:
            life = self.around(task.cpu, task.name, life)
        task.thread = self._new_thread(task.name, life)
        task.thread.space = process.space

    def _life(self, task: Task, body: Body) -> Op[None]:
        """A task from its first step to its last; the process's last one tears the space down."""
        process, cpu = task.process, task.cpu
        with suppress(TaskKilled):
            if not process.is_loaded:
                yield from self._exec(task)
            yield from body(task)
        yield from cpu.sync()
        task.has_ended = True
        if task.thread is not None:
            abandon(cpu, task.thread)
        counting = process.space.rss.leave(cpu)
        if counting:
            cpu.charge(counting, RSS_LINE)
            yield from cpu.sync()
        process.running -= 1
        if process.running:
            return
        process.is_exiting = True
        running = yield from self.kernel.operations.begin(cpu, self.kernel.operations.kind("exit"))
        cpu.charge(self.kernel.costs.exit_fixed, "exit")
        yield from cpu.sync()
        process.has_memory = False
        yield from tear_down(process.space, cpu)
        yield from self.kernel.operations.end(cpu, running)
        yield from cpu.sync()
        process.is_over = True
        parent = process.parent
        if parent is not None:
            waiting, parent.waiting = parent.waiting, []
            for sleeper in waiting:
                yield from task.wake(sleeper)

    def _exec(self, task: Task) -> Op[None]:
        """The process's first task begins its program."""
        process, cpu, operations = task.process, task.cpu, self.kernel.operations
        process.is_loaded = True
        running = yield from operations.begin(cpu, operations.kind("exec"))
        task.signal = yield from load_image(process.space, cpu)
        yield from operations.end(cpu, running)
        if task.signal:
            yield from cpu.sync()
            raise TaskKilled(task.signal)

    def _next_pid(self) -> int:
        return FIRST_PID + len(self.processes)

    def _register(self, process: Process) -> Process:
        self.processes.append(process)
        return process

    # -- results -------------------------------------------------------------------------------

    @property
    def flush_counts(self) -> FlushCounts:
        """What shootdowns did."""
        return self.kernel.policy.system.counts

    @property
    def shootdown_latencies(self) -> Recorder:
        """How long shootdowns took that reached other processors."""
        return self.kernel.policy.system.latencies

    def judge_all(self) -> None:
        """Let the oracle judge what is left; at a barrier or at the end."""
        oracle = self.kernel.oracle
        if oracle is not None:
            for cpu in self.kernel.cpus:
                oracle.judge(cpu.id)

    def reset_counters(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        kernel = self.kernel
        kernel.counts.reset()
        kernel.operations.reset()
        kernel.switching.reset()
        kernel.lines.dram_reads = 0
        kernel.frames.lru.reset()
        kernel.cache.reset()
        for unit in kernel.units:
            unit.reset()
        self.flush_counts.reset()
        self.shootdown_latencies.clear()

    def validate(self) -> None:
        """Recount the slow way; at rest."""
        for process in self.processes:
            if process.space.tables.is_started and not process.space.is_dead:
                process.space.validate()
        self._validate_cache()

    def _validate_cache(self) -> None:
        """Each entry that leads to a page of a file is counted there; at rest."""
        cache, mapped = self.kernel.cache, dict[Pfn, int]()
        cache.validate()
        for process in self.processes:
            space = process.space
            if cache.by_frame and space.tables.is_started and not space.is_dead:
                for _, entry in space.tables.entries(0, self.kernel.geometry.user_pages):
                    mapped[pfn_of(entry)] = mapped.get(pfn_of(entry), 0) + 1
        for pfn, page in cache.by_frame.items():
            assert page.mapped == mapped.get(pfn, 0), f"page {page.index} of {page.file.name} miscounts"
