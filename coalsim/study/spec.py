"""StudySpec: what a study asks for, checked.

    [study]     name, title, question, expectation, reading
    machine =   "name", or [machine] with a name and keys to change
    [kernel]    profile, any switch, and [kernel.cost]
    [workload]  kind, and the parameters of that kind
    [engine]    run_ahead, fast_paths, tick_events
    [run]       duration, warmup, replications, seed
    [inject]    fail, delay, away: what goes wrong
    [what_if]   "lock:NAME", ipi, "cost:NAME", "machine:KEY": costs made so many times as large
    [[axis]], [show], [stop], [quick]   what varies and what is shown: left to `coalsim.sweep`

Sections are checked one by one, so that all mistakes are found in one go; each
names file and line, or the option, and what to do.  Nothing is built here.

Invariant: a `StudySpec` that exists names a kernel that exists and parameters
that its workload accepts.  Whether machine and lock exist is said when they are
built, with `StudySpec.asked` for the place.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from coalsim.errors import ConfigError, Problem
from coalsim.plugins import Asked, names_code, names_file, require_trust
from coalsim.profiles import DEFAULT_PROFILE, KernelProfile, load_profile
from coalsim.study.document import Document, show
from coalsim.study.injecting import InjectSection
from coalsim.study.own_loads import find_load, is_installed_or_code
from coalsim.study.sections import EngineSection, RunSection, StudySection, explained
from coalsim.study.what_if import NOTHING_CHANGED, WhatIf, parse_what_if
from coalsim.topology.presets import preset_names

DEFAULT_MACHINE = "coal"
SECTIONS = ("study", "machine", "kernel", "workload", "engine", "run", "inject", "what_if")
SWEEP_SECTIONS = ("axis", "show", "stop", "quick")
"""Tables that say what a study varies and shows; `coalsim.sweep` reads them."""
CLASS_KEYS = {
    "kernel.lock": "lock",
    "kernel.placement": "placement policy",
    "kernel.shootdown": "shootdown policy",
    "kernel.allocator": "allocator",
    "kernel.victim": "victim rule",
    "workload.kind": "load",
}
"""Keys whose value may name a class by file or module."""

S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """A study, checked.

    `machine_changes` are dotted keys with values as text; `workload` is the
    parameter model of its kind.
    """

    name: str
    title: str
    question: str
    expectation: str
    reading: str
    machine: str
    machine_changes: Mapping[str, str]
    kernel: KernelProfile
    workload_kind: str
    workload: BaseModel
    engine: EngineSection
    run: RunSection
    inject: InjectSection
    document: Document
    trust: bool
    what_if: WhatIf = NOTHING_CHANGED

    def asked(self, key: str) -> Asked:
        """Where a key was given and whether it may load code, for whoever looks a class up."""
        return self.document.asked(key, trust=self.trust)

    def located(self, problem: Problem) -> Problem:
        """A mistake that a builder found at one of our keys, with the place where the key was given."""
        if problem.where or not problem.key:
            return problem
        return self.document.problem(problem.key, problem.message, problem.remedy, problem.value)

    def resolved(self) -> dict[str, object]:
        """Everything that was decided, defaults included: as JSON it is a study file that asks the same."""
        return {
            "study": self._words(),
            "machine": {"name": self.machine, **self.machine_changes},
            "kernel": {
                "profile": self.kernel.name,
                **self.kernel.switches_as_text(),
                **self._classes_by_path(),
                "cost": {key: f"{cost.value} {cost.unit}" for key, cost in self.kernel.parameters()},
            },
            "workload": {"kind": self._kind(), **self.workload.model_dump(mode="json")},
            "engine": self.engine.model_dump(),
            "run": self.run.model_dump(),
            **({} if self.inject.is_empty else {"inject": self.inject.model_dump(mode="json")}),
            **({"what_if": self.what_if.table()} if self.what_if.changes else {}),
        }

    def _words(self) -> dict[str, object]:
        """The study in words; what it does not say of expectation and reading is left out."""
        words = {"name": self.name, "title": self.title, "question": self.question}
        more = {"expectation": self.expectation, "reading": self.reading}
        return {**words, **{key: text for key, text in more.items() if text}}

    def _kind(self) -> str:
        """The workload's kind; a file is named as it is found from where we are."""
        kind = self.workload_kind
        return self.document.path("workload.kind", kind) if names_file(kind) else kind

    def _classes_by_path(self) -> dict[str, str]:
        """The classes that are named by a file, as it is found from where we are."""
        switches = self.kernel.switches
        named = {
            "lock": switches.lock,
            "placement": switches.placement,
            "shootdown": switches.shootdown,
            "allocator": switches.allocator,
            "victim": switches.victim,
        }
        return {
            key: self.document.path(f"kernel.{key}", name) for key, name in named.items() if names_file(name)
        }


def parse_spec(
    document: Document,
    *,
    workloads: Mapping[str, type[BaseModel]],
    trust: bool = False,
) -> StudySpec:
    """Check a study.

    Args:
        document: the study with its settings.
        workloads: the parameter model of each kind of workload.
        trust: whether the study file may name classes by file or module.

    Raises:
        ConfigError: all mistakes.
    """
    reader = _Reader(document)
    reader.refuse_unknown("", document.raw, (*SECTIONS, *SWEEP_SECTIONS))
    study = reader.section("study", StudySection)
    machine, changes = reader.machine()
    kernel = reader.kernel(reader.default_profile(workloads))
    kind, workload = reader.workload(workloads, trust)
    engine = reader.section("engine", EngineSection)
    run = reader.section("run", RunSection)
    inject = reader.section("inject", InjectSection)
    what_if = reader.what_if()
    reader.trust(trust)
    if reader.problems or not (study and kernel and workload and engine and run and inject):
        raise ConfigError(reader.problems)
    return StudySpec(
        name=study.name or Path(document.where).stem or kind,
        title=study.title,
        question=study.question,
        expectation=study.expectation,
        reading=study.reading,
        machine=machine,
        machine_changes=changes,
        kernel=kernel,
        workload_kind=kind,
        workload=workload,
        engine=engine,
        run=run,
        inject=inject,
        document=document,
        trust=trust,
        what_if=what_if,
    )


def machine_asked(document: Document) -> tuple[str, dict[str, str]]:
    """The machine that a study names and the keys of it to change, whatever else is wrong with the study."""
    return _Reader(document).machine()


class _Reader:
    """Reads a document section by section and keeps every mistake."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def refuse(self, key: str, message: str, remedy: str, value: object = "") -> None:
        """Note a mistake."""
        self.problems.append(self.document.problem(key, message, remedy, value))

    def refuse_again(self, error: ConfigError) -> None:
        """Note mistakes that were found further down, with their place."""
        for problem in error.problems:
            self.refuse(problem.key, problem.message, problem.remedy, problem.value)

    def refuse_unknown(self, table: str, given: Mapping[str, object], known: tuple[str, ...]) -> None:
        """Note every key of a table that is not known, with the one that was probably meant."""
        for key in given:
            if key not in known:
                self.refuse(f"{table}.{key}" if table else key, "no such key", _did_you_mean(key, known))

    def table(self, key: str) -> dict[str, object] | None:
        """A section's raw values; empty if it is absent, None (noted) if it is no table."""
        raw = self.document.raw.get(key, {})
        if isinstance(raw, dict):
            return raw
        self.refuse(key, "not a table", f"write [{key}] and its keys below", raw)
        return None

    def section(self, key: str, model: type[S]) -> S | None:
        """A section that is a model by itself."""
        raw = self.table(key)
        return None if raw is None else self.model(key, raw, model)

    def what_if(self) -> WhatIf:
        """The costs that are scaled."""
        raw = self.table("what_if") or {}
        problems: list[Problem] = []
        found = parse_what_if({key: show(value) for key, value in raw.items()}, problems)
        self.refuse_again(ConfigError(problems))
        return found

    def model(self, key: str, raw: Mapping[str, object], model: type[S]) -> S | None:
        """A table checked by its model; None if there are mistakes, which are noted."""
        known = tuple(model.model_fields)
        self.refuse_unknown(key, raw, known)
        try:
            return model.model_validate({name: raw[name] for name in raw if name in known})
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                path = ".".join([key, *map(str, detail["loc"])])
                message, remedy = explained(detail)
                value = "" if detail["type"] == "missing" else detail["input"]
                self.refuse(path, message, remedy, value)
            return None

    def machine(self) -> tuple[str, dict[str, str]]:
        """The machine's name, and the keys of it to change."""
        raw = self.document.raw.get("machine", DEFAULT_MACHINE)
        if isinstance(raw, str):
            return self.machine_by_path("machine", raw), {}
        if not isinstance(raw, dict):
            self.refuse("machine", "neither a name nor a table", 'write machine = "coal"', raw)
            return DEFAULT_MACHINE, {}
        name = raw.get("name", DEFAULT_MACHINE)
        if not isinstance(name, str):
            self.refuse("machine.name", "not a name", 'write name = "coal"', name)
        changes = dict(_flattened({key: item for key, item in raw.items() if key != "name"}))
        return self.machine_by_path("machine.name", str(name)), changes

    def machine_by_path(self, key: str, name: str) -> str:
        """A machine's name; if it is a file beside the study, its path from where we are."""
        path = self.document.path(key, name)
        return path if name not in preset_names() and os.path.exists(path) else name

    def default_profile(self, workloads: Mapping[str, type[BaseModel]]) -> str:
        """The kernel where the study names none: the one that its workload suits."""
        raw = self.document.raw.get("workload")
        kind = raw.get("kind") if isinstance(raw, dict) else None
        model = workloads.get(kind) if isinstance(kind, str) else None
        return str(getattr(model, "default_profile", DEFAULT_PROFILE))

    def kernel(self, default_profile: str) -> KernelProfile | None:
        """The kernel's profile with the switches and costs that the study changes."""
        raw = self.table("kernel")
        if raw is None:
            return None
        changes = dict(_flattened({key: item for key, item in raw.items() if key != "profile"}))
        profile = load_profile(default_profile)  # checks the other keys if the study's own does not exist
        before = len(self.problems)
        try:
            profile = load_profile(show(raw.get("profile", default_profile)))
        except ConfigError as error:
            self.refuse_again(error)
        try:
            profile = profile.with_overrides(changes)
        except ConfigError as error:
            self.refuse_again(error)
        return profile if len(self.problems) == before else None

    def workload(self, workloads: Mapping[str, type[BaseModel]], trust: bool) -> tuple[str, BaseModel | None]:
        """The workload's kind and parameters."""
        raw = self.table("workload")
        if raw is None:
            return "", None
        kind = raw.get("kind")
        is_own = isinstance(kind, str) and kind not in workloads and is_installed_or_code(kind)
        if not isinstance(kind, str) or (kind not in workloads and not is_own):
            message = "missing" if kind is None else "no such workload"
            self.refuse("workload.kind", message, _did_you_mean(show(kind), tuple(workloads)), kind or "")
            return "", None
        model = self.own_load(kind, workloads, trust) if is_own else workloads[kind]
        if model is None:
            return "", None
        parameters = {key: item for key, item in raw.items() if key != "kind"}
        for key in getattr(model, "paths", ()):
            if isinstance(path := parameters.get(key), str):
                parameters[key] = self.document.path(f"workload.{key}", path)
        return kind, self.model("workload", parameters, model)

    def own_load(
        self, kind: str, workloads: Mapping[str, type[BaseModel]], trust: bool
    ) -> type[BaseModel] | None:
        """A user's load; None if it cannot be had, which is noted (here, or by `trust`)."""
        asked = self.document.asked("workload.kind", trust=trust)
        if names_code(kind) and not asked.trust:
            return None
        try:
            return find_load(kind, workloads, asked)
        except ConfigError as error:
            self.problems.extend(error.problems)
            return None

    def trust(self, trust: bool) -> None:
        """Note every class that a file names and that may not be loaded."""
        for key, kind in CLASS_KEYS.items():
            table, _, name = key.partition(".")
            section = self.document.raw.get(table)
            value = section.get(name) if isinstance(section, dict) else None
            if isinstance(value, str):
                try:
                    require_trust(value, kind, self.document.asked(key, trust=trust))
                except ConfigError as error:
                    self.problems.extend(error.problems)


def _flattened(raw: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every value of a tree under its dotted key, as text."""
    for key, item in raw.items():
        if isinstance(item, dict):
            yield from _flattened(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", show(item)


def _did_you_mean(word: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}"
