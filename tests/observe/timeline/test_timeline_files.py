"""The files hold to their formats: schema, nesting, order of time, both ends of every arrow."""

import gzip
import io
import json
from collections.abc import Mapping
from typing import Any

import pytest
from jsonschema import validate
from recordings import LOOP, OOM, SMALL, plan_of, recorded

from coalsim.observe.timeline.formats import FORMATS, write_timeline
from coalsim.observe.timeline.timeline import Timeline
from coalsim.study.timeline import Asked, record, wanted_of
from coalsim.units import NS

RUNS = [
    ("munmap_shared", {"kernel__shootdown": "linux", "machine": SMALL}),
    ("munmap_shared", {"kernel__shootdown": "tlbi", "machine": SMALL}),
    ("lock_loop", {**LOOP, "kernel__lock": "mutex"}),
    pytest.param(("oom_storm", OOM), marks=pytest.mark.slow),
    pytest.param(("replay", {"machine": SMALL}), marks=pytest.mark.slow),
]
OBJECT = {"type": "object"}
# The parts of speedscope's published file format that its evented and sampled profiles use.
SPEEDSCOPE: dict[str, Any] = {
    **OBJECT,
    "required": ["$schema", "shared", "profiles"],
    "properties": {
        "$schema": {"const": "https://www.speedscope.app/file-format-schema.json"},
        "name": {"type": "string"},
        "exporter": {"type": "string"},
        "activeProfileIndex": {"type": "integer"},
        "shared": {
            **OBJECT,
            "required": ["frames"],
            "properties": {
                "frames": {
                    "type": "array",
                    "items": {**OBJECT, "required": ["name"], "properties": {"name": {"type": "string"}}},
                }
            },
        },
        "profiles": {
            "type": "array",
            "minItems": 1,
            "items": {"oneOf": [{"$ref": "#/$defs/evented"}, {"$ref": "#/$defs/sampled"}]},
        },
    },
    "$defs": {
        "unit": {"enum": ["bytes", "microseconds", "milliseconds", "nanoseconds", "none", "seconds"]},
        "event": {
            **OBJECT,
            "required": ["type", "at", "frame"],
            "additionalProperties": False,
            "properties": {
                "type": {"enum": ["O", "C"]},
                "at": {"type": "number"},
                "frame": {"type": "integer"},
            },
        },
        "evented": {
            **OBJECT,
            "required": ["type", "name", "unit", "startValue", "endValue", "events"],
            "properties": {
                "type": {"const": "evented"},
                "name": {"type": "string"},
                "unit": {"$ref": "#/$defs/unit"},
                "startValue": {"type": "number"},
                "endValue": {"type": "number"},
                "events": {"type": "array", "items": {"$ref": "#/$defs/event"}},
            },
        },
        "sampled": {
            **OBJECT,
            "required": ["type", "name", "unit", "startValue", "endValue", "samples", "weights"],
            "properties": {
                "type": {"const": "sampled"},
                "name": {"type": "string"},
                "unit": {"$ref": "#/$defs/unit"},
                "startValue": {"type": "number"},
                "endValue": {"type": "number"},
                "samples": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
                "weights": {"type": "array", "items": {"type": "number"}},
            },
        },
    },
}

pytestmark = pytest.mark.parametrize("run", RUNS, ids=lambda run: run[0])
Run = tuple[str, dict[str, str]]


def written(run: Run, format_: str) -> tuple[bytes, Timeline]:
    timeline = recorded(run[0], **run[1]).timeline
    out = io.BytesIO()
    FORMATS[format_](timeline, out)
    return out.getvalue(), timeline


def picoseconds(text: str) -> int:
    """A number of us with six decimals, exactly."""
    whole, _, rest = text.partition(".")
    return int(whole) * 1_000_000 + int(rest.ljust(6, "0"))


def test_chrome_traces_nest_and_their_arrows_have_all_ends(run: Run) -> None:
    """B and E match by name on each thread, in order of time; s, t and f belong together; b has its e."""
    content, timeline = written(run, "chrome")
    file = json.loads(content, parse_float=picoseconds)
    open_on: dict[tuple[int, int], list[str]] = {}
    last: dict[object, int] = {}
    arrows: dict[int, str] = {}
    waits: dict[int, list[Mapping[str, Any]]] = {}
    named = {(event["pid"], event["tid"]) for event in file["traceEvents"] if event["name"] == "thread_name"}
    for event in file["traceEvents"]:
        assert isinstance(event["ts"], int)
        track: object = (event["pid"], event["tid"])
        if event["ph"] == "C":
            track = (track, event["name"])
            assert isinstance(event["args"]["value"], int)
        if event["ph"] in "be":
            waits.setdefault(event["id"], []).append(event)
        elif event["ph"] != "M":
            assert event["ts"] >= last.get(track, 0)
            last[track] = event["ts"]
        if event["ph"] in "BE":
            assert (event["pid"], event["tid"]) in named
            stack = open_on.setdefault((event["pid"], event["tid"]), [])
            if event["ph"] == "B":
                stack.append(event["name"])
            else:
                assert stack.pop() == event["name"]
        if event["ph"] in "stf":
            arrows[event["id"]] = arrows.get(event["id"], "") + event["ph"]
            assert event.get("bp") == ("e" if event["ph"] == "f" else None)

    assert not any(open_on.values())
    assert len(arrows) == len(timeline.messages)
    assert {"".join(sorted(steps)) for steps in arrows.values()} <= {"fst", "fs"}
    for begin, end in waits.values():
        assert (begin["ph"], end["ph"]) == ("b", "e")
        assert end["ts"] - begin["ts"] == begin["args"]["wait_ps"]
    total = sum(begin["args"]["wait_ps"] for begin, _ in waits.values())
    assert total == sum(timeline.waits_by_lock().values())


def test_perfetto_traces_describe_every_track(run: Run) -> None:
    """Parsed back: described tracks, nesting, order of time on each, flows that begin and end."""
    pytest.importorskip("perfetto")
    from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as messages

    content, timeline = written(run, "perfetto")
    trace = messages.Trace.FromString(content)
    kinds = messages.TrackEvent
    described: dict[int, int] = {}
    depth: dict[int, int] = {}
    last: dict[int, int] = {}
    begun, ended, waited = [], [], 0
    for packet in trace.packet:
        assert packet.trusted_packet_sequence_id
        if packet.HasField("track_descriptor"):
            track = packet.track_descriptor
            assert track.uuid not in described
            assert not track.parent_uuid or track.parent_uuid in described
            described[track.uuid] = track.parent_uuid
            continue
        event = packet.track_event
        uuid = event.track_uuid
        assert uuid in described
        assert packet.timestamp >= last.get(uuid, 0)
        last[uuid] = packet.timestamp
        depth[uuid] = depth.get(uuid, 0) + {kinds.TYPE_SLICE_BEGIN: 1, kinds.TYPE_SLICE_END: -1}.get(
            event.type, 0
        )
        assert depth[uuid] >= 0
        begun += event.flow_ids
        ended += event.terminating_flow_ids
        notes = {note.name: note for note in event.debug_annotations}
        waited += notes["wait_ps"].int_value if "wait_ps" in notes else 0

    assert not any(depth.values())
    assert set(begun) == set(ended)
    assert len(ended) == len(set(ended)) == len(timeline.messages)
    assert waited == sum(timeline.waits_by_lock().values())


def test_speedscope_profiles_fit_their_schema(run: Run) -> None:
    """Valid, balanced, in order; samples refer to frames and weigh what the CPUs' time was."""
    content, timeline = written(run, "speedscope")
    file = json.loads(content)
    validate(file, SPEEDSCOPE)
    frames = len(file["shared"]["frames"])
    *evented, sampled = file["profiles"]
    for profile in evented:
        stack: list[int] = []
        at = profile["startValue"]
        for event in profile["events"]:
            assert at <= event["at"] <= profile["endValue"]
            at = event["at"]
            assert 0 <= event["frame"] < frames
            if event["type"] == "O":
                stack.append(event["frame"])
            else:
                assert stack.pop() == event["frame"]
        assert not stack

    assert len(evented) == len(timeline.cpus)
    assert len(sampled["samples"]) == len(sampled["weights"])
    assert all(0 <= frame < frames for stack in sampled["samples"] for frame in stack)
    total = round(sum(round(weight * NS) for weight in sampled["weights"]))
    assert total == len(timeline.cpus) * (timeline.end - timeline.begin)


def test_folded_stacks_are_lines_of_frames_and_a_number(run: Run) -> None:
    """Root first, no blank in a frame, whole ns that come to the simulated time."""
    content, timeline = written(run, "folded")
    total = 0
    lines = content.decode().splitlines()
    for line in lines:
        stack, weight = line.split(" ")
        assert stack.startswith("node")
        total += int(weight)

    assert lines == sorted(lines, key=lambda line: line.split(" ")[0].split(";"))
    assert abs(total - len(timeline.cpus) * (timeline.end - timeline.begin) / NS) <= len(lines) + 100


def test_text_comes_in_order_of_time(run: Run) -> None:
    """A line for each thing; nothing that a terminal would obey."""
    content, timeline = written(run, "text")
    lines = [line for line in content.decode().splitlines() if not line.startswith("# ")]
    times = [float(line.split(" ns ")[0]) for line in lines]

    assert times == sorted(times)
    assert all(line.isprintable() for line in lines)
    assert sum("? waits" in line for line in lines) == len(timeline.waits)


def test_same_run_same_bytes(run: Run, tmp_path: Any) -> None:
    """Two recordings of one run are one file, packed too."""
    plan = plan_of(run[0], **run[1])
    again = record(plan, wanted_of(Asked(), plan)).timeline
    for format_ in FORMATS:
        out = io.BytesIO()
        FORMATS[format_](again, out)
        assert out.getvalue() == written(run, format_)[0]
    for name in ("one.json.gz", "two.json.gz"):
        write_timeline(again, "chrome", tmp_path / name)
    assert (tmp_path / "one.json.gz").read_bytes() == (tmp_path / "two.json.gz").read_bytes()
    assert gzip.decompress((tmp_path / "one.json.gz").read_bytes()) == written(run, "chrome")[0]
