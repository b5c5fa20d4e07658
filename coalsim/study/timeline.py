"""Recording a timeline: one run of a study in the plain mode, listened to.

The plain mode (nothing runs ahead of global time, no section is computed) has the results of all
others to the byte, but for the number of events; in it every stretch of time has its true begin and end.
Of several replications the first is recorded.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from coalsim.boot import System
from coalsim.errors import ConfigError, InputError, Problem
from coalsim.observe.document import ResultDocument
from coalsim.observe.timeline.facts import Mark
from coalsim.observe.timeline.formats import FORMATS, write_timeline
from coalsim.observe.timeline.perfetto import require_perfetto
from coalsim.observe.timeline.recorder import CATEGORIES, DEFAULT_LIMIT, Gauge, Heard, Recorder, Wanted
from coalsim.observe.timeline.timeline import Timeline
from coalsim.study.planning import Plan
from coalsim.study.run import Watch, run_study
from coalsim.study.sections import AUTO
from coalsim.study.warmup import find_warmup
from coalsim.units import FOREVER, Time, format_time, parse_time

OF_TIME = ("speedscope", "folded")
"""Formats that tell nothing but what CPUs spend their time on."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A timeline as users ask for it.

    Args:
        format: of `FORMATS`.
        window: ``BEGIN..END`` in absolute simulated time, either may be left out; empty: all.
        limit: how much is kept at most.
        cpus: a list such as ``0-3,8``; empty: all.
        what: categories with commas between; empty: all.
    """

    format: str = "chrome"
    window: str = ""
    limit: int = DEFAULT_LIMIT
    cpus: str = ""
    what: str = ""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A run, and its timeline."""

    result: ResultDocument
    timeline: Timeline


def wanted_of(asked: Asked, plan: Plan) -> Wanted:
    """What to record.

    Raises:
        ConfigError: every mistake in what is asked.
    """
    problems: list[Problem] = []

    def refuse(key: str, value: object, message: str, remedy: str) -> None:
        problems.append(Problem(key=key, value=str(value), message=message, remedy=remedy))

    if asked.format not in FORMATS:
        refuse("--format", asked.format, "no such format", f"use one of {', '.join(FORMATS)}")
    if asked.limit < 1:
        refuse("--limit", asked.limit, "nothing would be kept", "give a number from 1 up")
    what = tuple(word.strip() for word in asked.what.split(",")) if asked.what else CATEGORIES
    for word in what:
        if word not in CATEGORIES:
            refuse("--what", word, "no such category", f"use some of {', '.join(CATEGORIES)}")
    if asked.format in OF_TIME and "time" not in what:
        refuse("--what", asked.what, f"the format {asked.format} tells only time", "add time, or use chrome")
    first = _warmup(plan)
    last = first + plan.spec.run.duration if plan.spec.run.duration else FOREVER
    begin, end = first, last
    try:
        begin, end = _window(asked.window, first, last)
    except ValueError as error:
        message, _, remedy = str(error).partition("; ")
        refuse("--window", asked.window, message, remedy or "write it like 1ms..1.2ms")
    cpus: tuple[int, ...] = ()
    try:
        cpus = _cpu_list(asked.cpus, plan.config.machine.num_cpus)
    except ValueError as error:
        message, _, remedy = str(error).partition("; ")
        refuse("--cpus", asked.cpus, message, remedy or "write it like 0-3,8")
    if problems:
        raise ConfigError(problems)
    if asked.format == "perfetto":
        require_perfetto()
    in_order = tuple(category for category in CATEGORIES if category in what)
    return Wanted(begin=begin, end=end, limit=asked.limit, cpus=cpus, what=in_order)


def _warmup(plan: Plan) -> Time:
    """When counting begins; where a pilot run finds that, it is made once more."""
    run = plan.spec.run
    if run.warmup == AUTO:
        return find_warmup(plan.config, plan.load, run)["cut_ps"]
    return run.given_warmup


def _window(text: str, first: Time, last: Time) -> tuple[Time, Time]:
    """The part of the measured interval that is asked for."""
    if not text:
        return first, last
    begin, dots, end = text.partition("..")
    if not dots:
        raise ValueError("no window; write it like 1ms..1.2ms")
    chosen = (parse_time(begin) if begin.strip() else first), (parse_time(end) if end.strip() else last)
    window = max(first, chosen[0]), min(last, chosen[1])
    if chosen[0] >= chosen[1]:
        raise ValueError("the window ends before it begins; swap its ends")
    if window[0] >= window[1]:
        until = "the end of the load" if last == FOREVER else format_time(last)
        raise ValueError(f"nothing is measured then; choose a part of {format_time(first)}..{until}")
    return window


def _cpu_list(text: str, count: int) -> tuple[int, ...]:
    """CPUs by number, like 0-3,8."""
    chosen: dict[int, None] = {}
    for part in text.split(",") if text else []:
        low, dash, high = part.strip().partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()):
            raise ValueError(f"{part!r} is no CPU; write it like 0-3,8")
        top = int(high) if dash else int(low)
        if not int(low) <= top < count:
            raise ValueError(f"{part!r} is not among the {count} CPUs of this machine; give 0 to {count - 1}")
        chosen.update(dict.fromkeys(range(int(low), top + 1)))
    return tuple(sorted(chosen))


def record(plan: Plan, wanted: Wanted, watch: Watch | None = None) -> Recorded:
    """Run a study once, in the plain mode, and record it.

    Raises:
        ConfigError, KernelBug: as `run_study`.
    """
    recorder = Recorder(wanted)
    heard: list[System] = []

    def attach(system: System, number: int) -> None:
        recorder.attach(_parts_of(system))
        heard.append(system)
        if watch is not None:
            watch(system, number)

    plain = replace(plan.config, run_ahead=False, fast_paths=False)
    once = replace(plan.spec, run=plan.spec.run.model_copy(update={"replications": 1}))
    result = run_study(replace(plan, spec=once, config=plain), attach)
    (system,) = heard
    recorder.finish(system.env._now)
    return Recorded(result=result, timeline=_timeline(system, recorder, result))


def _parts_of(system: System) -> Heard:
    """What there is to listen to; reading a gauge changes nothing."""
    kernel = system.vm.kernel if system.has_vm else None
    return Heard(
        env=system.env,
        cpus=system.cpus,
        probes=system.probes,
        operations=kernel.operations if kernel is not None else None,
        gauges=tuple(_gauges(system)),
        signals=(lambda: kernel.counts.signals) if kernel is not None else (lambda: 0),
    )


def _gauges(system: System) -> Iterator[Gauge]:
    zones, cpus = system.memory.pages.zones, system.cpus

    def free_pages(node: int) -> Callable[[], int]:
        own = [zone for zone in zones if zone.node == node]
        return lambda: sum(zone.source.free_frames for zone in own)

    def runnable(node: int) -> Callable[[], int]:
        own = [cpu for cpu in cpus if cpu.node == node]
        return lambda: sum(cpu.queue.ready + (cpu.current is not None) for cpu in own)

    for node in sorted({int(zone.node) for zone in zones}):
        yield Gauge("free pages", node, free_pages(node))
    for node in sorted({int(cpu.node) for cpu in cpus}):
        yield Gauge("runnable threads", node, runnable(node))


def _timeline(system: System, recorder: Recorder, result: ResultDocument) -> Timeline:
    wanted = recorder.wanted
    begin, end = wanted.begin, recorder.end
    marks = list(recorder.marks)
    if "instants" in wanted.what:
        marks += [mark for mark in _kernel_marks(system, result) if begin <= mark.at <= end]
    cpus = wanted.cpus or range(len(system.cpus))
    return Timeline(
        study=result["study"],
        machine=result["machine"],
        profile=result["profile"],
        seed=result["seed"],
        begin=begin,
        end=end,
        nodes={cpu: int(system.cpus[cpu].node) for cpu in cpus},
        what=wanted.what,
        tracks=recorder.tracks,
        waits=sorted(recorder.waits, key=lambda wait: (wait.arrived, wait.cpu, wait.granted, wait.released)),
        messages=sorted(recorder.messages, key=lambda one: (one.sent, one.sender, one.target, one.started)),
        marks=sorted(marks),
        samples=recorder.samples,
        notes=tuple(_notes(recorder, system)),
    )


def _kernel_marks(system: System, result: ResultDocument) -> Iterator[Mark]:
    for at, text in system.kernel_log:
        yield Mark(at, -1, "OOM kill" if "Out of memory" in text else "kernel log", text)
    if "panic" in result:
        yield Mark(system.env._now, -1, "panic", result["panic"].partition("\n")[0])


def _notes(recorder: Recorder, system: System) -> Iterator[str]:
    """What was left out, because somebody asked for that or because it was too much."""
    wanted, measured = recorder.wanted, system.env._now
    if recorder.is_full:
        yield (
            f"the limit of {wanted.limit} events was reached at {format_time(recorder.end)}: all that came "
            f"after it is left out, up to the end of the run at {format_time(measured)}; raise --limit, or "
            "choose a --window, fewer --cpus or less of --what"
        )
    elif recorder.end < measured:
        yield f"the run went on after this window, up to {format_time(measured)}"
    if wanted.cpus:
        yield f"only {len(wanted.cpus)} of {len(system.cpus)} CPUs are told"
    if left_out := [category for category in CATEGORIES if category not in wanted.what]:
        yield f"not recorded: {', '.join(left_out)}"


def save(timeline: Timeline, format_: str, out: Path) -> None:
    """Write a timeline into a file.

    Raises:
        InputError: it cannot be written.
    """
    try:
        write_timeline(timeline, format_, out)
    except OSError as error:
        message, remedy = f"cannot be written: {error.strerror}", "name a file that you may write"
        raise InputError([Problem(where=str(out), key="--out", message=message, remedy=remedy)]) from None
