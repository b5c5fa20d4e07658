"""Native Perfetto traces: packets of protocol buffers, from the `perfetto` package (extra `trace`).

    process track = memory node      thread track = CPU: what it does, nested; moments; ends of arrows
    its children = waits for locks, as many tracks as overlap     counter tracks of the node

Timestamps are whole ns, rounded down, as the format wants them; waits carry their exact ps beside.
Arrows connect moments: interrupt sent, handler begins, answer seen.
Source: Perfetto's "TrackEvent" protocol and "Writing synthetic traces" in its documentation.
"""

from importlib import import_module
from types import ModuleType
from typing import IO

from coalsim.errors import ConfigError, Problem
from coalsim.observe.timeline.facts import Edge, LockWait, Mark, Sample
from coalsim.observe.timeline.timeline import Event, Timeline, lanes
from coalsim.units import NS, Time

SEQUENCE = 1
ARROWS = {"s": "interrupt sent", "t": "interrupt taken", "f": "answer seen"}


def require_perfetto() -> ModuleType:
    """The messages of the format.

    Raises:
        ConfigError: the package is not installed.
    """
    try:
        return import_module("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    except ImportError:
        message, remedy = "the package perfetto is not installed", "install coalsim[trace], or use chrome"
        problem = Problem(key="--format", value="perfetto", message=message, remedy=remedy)
        raise ConfigError([problem]) from None


def write_perfetto(timeline: Timeline, out: IO[bytes]) -> None:
    """Write the whole file, packet by packet."""
    _Writer(timeline, out).write()


class _Writer:
    """Writes one file; tracks are numbered as they are described."""

    def __init__(self, timeline: Timeline, out: IO[bytes]) -> None:
        self._timeline = timeline
        self._out = out
        self._messages = require_perfetto()
        self._kinds = self._messages.TrackEvent
        self._tracks = 0
        self._first = True

    def write(self) -> None:
        """Tracks are described before they are used."""
        timeline = self._timeline
        machine = self._track(process=(1, "machine"))
        self._describe(machine)
        nodes = {
            node: self._track(process=(node + 2, f"node {node}"))
            for node in sorted(dict.fromkeys(timeline.nodes.values()))
        }
        for cpu in timeline.cpus:
            node = timeline.nodes[cpu]
            track = self._track(parent=nodes[node], thread=(node + 2, cpu + 1, f"CPU {cpu}"))
            for event in timeline.events(cpu):
                self._on_cpu(track, event)
            self._waits(track, timeline.waits_of(cpu))
        for mark in timeline.marks:
            if mark.cpu < 0:
                self._moment(machine, mark.at, mark.name, mark.text)
        counters: dict[tuple[int, str], int] = {}
        for sample in timeline.counters():
            key = sample.node, sample.name
            if key not in counters:
                counters[key] = self._track(parent=nodes.get(sample.node, machine), counter=sample.name)
            self._count(counters[key], sample)

    # -- packets -----------------------------------------------------------------------

    def _put(self, packet: object) -> None:
        trace = self._messages.Trace()
        packet.trusted_packet_sequence_id = SEQUENCE  # type: ignore[attr-defined]
        if self._first:
            packet.sequence_flags = 1  # type: ignore[attr-defined]  # the sequence begins
            self._first = False
        trace.packet.append(packet)
        self._out.write(trace.SerializeToString(deterministic=True))

    def _track(
        self,
        *,
        parent: int = 0,
        process: tuple[int, str] | None = None,
        thread: tuple[int, int, str] | None = None,
        counter: str = "",
        name: str = "",
    ) -> int:
        """Describe a track; its number."""
        self._tracks += 1
        packet = self._messages.TracePacket()
        track = packet.track_descriptor
        track.uuid = self._tracks
        if parent:
            track.parent_uuid = parent
        if process is not None:
            track.process.pid, track.process.process_name = process
        if thread is not None:
            track.thread.pid, track.thread.tid, track.thread.thread_name = thread
        if counter:
            track.name = counter
            track.counter.SetInParent()
        if name:
            track.name = name
        self._put(packet)
        return self._tracks

    def _event(self, track: int, at: Time, kind: int, name: str = "", category: str = "") -> object:
        packet = self._messages.TracePacket()
        packet.timestamp = at // NS
        event = packet.track_event
        event.type, event.track_uuid = kind, track
        if name:
            event.name = name
        if category:
            event.categories.append(category)
        return packet

    def _note(self, packet: object, **notes: object) -> None:
        """Add what a viewer shows when one clicks on the event."""
        for name, value in notes.items():
            note = packet.track_event.debug_annotations.add()  # type: ignore[attr-defined]
            note.name = name
            if isinstance(value, int):
                note.int_value = value
            else:
                note.string_value = str(value)

    # -- what is drawn -----------------------------------------------------------------

    def _describe(self, track: int) -> None:
        packet = self._event(track, self._timeline.begin, self._kinds.TYPE_INSTANT, "timeline", "about")
        self._note(
            packet,
            **{
                key: "; ".join(map(str, value)) if isinstance(value, list) else value
                for key, value in self._timeline.described.items()
            },
        )
        self._put(packet)

    def _moment(self, track: int, at: Time, name: str, text: str) -> None:
        packet = self._event(track, at, self._kinds.TYPE_INSTANT, name, "instant")
        if text:
            self._note(packet, text=text)
        self._put(packet)

    def _on_cpu(self, track: int, event: Event) -> None:
        if isinstance(event, Edge):
            if event.opens:
                frame = event.frame
                begins = self._kinds.TYPE_SLICE_BEGIN
                self._put(self._event(track, event.at, begins, frame.name, frame.kind))
            else:
                self._put(self._event(track, event.at, self._kinds.TYPE_SLICE_END))
        elif isinstance(event, Mark):
            self._moment(track, event.at, event.name, event.text)
        else:
            packet = self._event(track, event.at, self._kinds.TYPE_INSTANT, ARROWS[event.step], "ipi")
            flows = packet.track_event  # type: ignore[attr-defined]
            (flows.terminating_flow_ids if event.step == "f" else flows.flow_ids).append(event.number)
            self._note(packet, text=event.text)
            self._put(packet)

    def _waits(self, cpu_track: int, waits: list[LockWait]) -> None:
        tracks: list[int] = []
        for lane, wait in lanes(waits):
            if lane == len(tracks):
                tracks.append(self._track(parent=cpu_track, name="waits for locks"))
            packet = self._event(tracks[lane], wait.arrived, self._kinds.TYPE_SLICE_BEGIN, wait.name, "lock")
            self._note(
                packet,
                type=wait.type,
                lock=wait.lock,
                site=wait.site,
                behind=wait.behind,
                wait_ps=wait.granted - wait.arrived,
                released_ps=wait.released,
            )
            self._put(packet)
            self._put(self._event(tracks[lane], wait.granted, self._kinds.TYPE_SLICE_END))

    def _count(self, track: int, sample: Sample) -> None:
        packet = self._event(track, sample.at, self._kinds.TYPE_COUNTER)
        packet.track_event.counter_value = sample.value  # type: ignore[attr-defined]
        self._put(packet)
