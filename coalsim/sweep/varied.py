"""Varied: a study file with its axes, and the study that each of their combinations is.

What is laid over what, later over earlier: the file, its [quick] keys, the values of axes, the
settings of the command line.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from coalsim.errors import ConfigError, Problem
from coalsim.study.document import Document
from coalsim.study.overrides import Setting, with_settings
from coalsim.study.spec import SWEEP_SECTIONS
from coalsim.sweep.axes import PlacedAxis, laid_over, parse_axes, read_axes, without_keys
from coalsim.sweep.quick import read_quick


@dataclass(frozen=True, kw_only=True)
class Varied:
    """A study file, its axes, and the settings that go over both."""

    document: Document
    axes: tuple[PlacedAxis, ...]
    settings: tuple[Setting, ...]

    @property
    def bare(self) -> Document:
        """The study without its axes and without what the sweep reads."""
        raw = {key: value for key, value in self.document.raw.items() if key not in SWEEP_SECTIONS}
        return replace(self.document, raw=raw)

    def document_of(self, number: int) -> Document:
        """The study that one point is, by its number in the grid."""
        return self.document_at(self._steps(number))

    def document_at(self, steps: Sequence[int]) -> Document:
        """The study that one point is, by the step of each axis."""
        values = [
            setting
            for placed, step in zip(self.axes, steps, strict=True)
            for setting in placed.settings(step)
        ]
        return with_settings(self.bare, [*values, *self.settings])

    def settings_at(self, steps: Sequence[int]) -> tuple[tuple[str, object], ...]:
        """Each axis key with its value."""
        return tuple(
            pair
            for placed, step in zip(self.axes, steps, strict=True)
            for pair in zip(placed.axis.keys, placed.axis.values[step], strict=True)
        )

    def _steps(self, number: int) -> list[int]:
        steps = []
        for placed in reversed(self.axes):
            number, step = divmod(number, len(placed.axis.values))
            steps.append(step)
        return steps[::-1]


def varied_study(
    document: Document,
    settings: Sequence[Setting],
    axis_texts: Sequence[str],
    quick: bool,
    problems: list[Problem],
) -> tuple[Varied, tuple[str, ...]]:
    """A study with its axes, and the keys of axes that were set to one value.

    Args:
        document: the study file.
        settings, axis_texts, quick: what the command line says.
        problems: gets every mistake.
    """
    in_file = read_axes(document, problems)
    quick_settings, quick_axes = read_quick(document, in_file, problems)
    if quick and "quick" not in document.raw:
        message, remedy = "the study has no quick variant", "add a table [quick] to it, or leave out --quick"
        problems.append(
            Problem(where=document.where or "--quick", key="quick", message=message, remedy=remedy)
        )
    axes = laid_over(in_file, quick_axes) if quick else in_file
    if quick:
        document = _laid_over(document, quick_settings, problems)
        axes = without_keys(axes, [setting.key for setting in quick_settings])
    try:
        typed = parse_axes(axis_texts)
    except ConfigError as error:
        problems.extend(error.problems)
        typed = []
    keys = [setting.key for setting in settings]
    axes = laid_over(without_keys(axes, keys), typed)
    for placed in typed:
        if placed.axis.keys[0] in keys:
            key = placed.axis.keys[0]
            remedy = "leave out one of them"
            problems.append(
                Problem(where=placed.option, key=key, message="set as well as varied", remedy=remedy)
            )
    left = [key for placed in axes for key in placed.axis.keys]
    gone = tuple(key for placed in in_file for key in placed.axis.keys if key not in left)
    return Varied(document=document, axes=tuple(axes), settings=tuple(settings)), gone


def _laid_over(document: Document, settings: Sequence[Setting], problems: list[Problem]) -> Document:
    try:
        return with_settings(document, settings)
    except ConfigError as error:
        problems.extend(error.problems)
        return document
