"""The documentation: its examples do what it says, its generated pages are those of the code, it builds."""

import doctest
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def loaded(path: str) -> ModuleType:
    """A script of the documentation as a module."""
    file = DOCS / path
    spec = importlib.util.spec_from_file_location(f"docs_{path.replace('/', '_').removesuffix('.py')}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


sessions = loaded("sessions.py")
PAGES = [DOCS / "tutorial.md", *sorted((DOCS / "howto").glob("*.md"))]
QUICK = ("import_my_machine",)
GALLERY = re.findall(r"gallery/(\w+)\.svg", (DOCS / "gallery.md").read_text(encoding="utf-8"))


def check_sessions(page: Path, folder: Path) -> None:
    """Run everything that a page shows, in its order."""
    ran = 0
    for step in sessions.steps(page.read_text(encoding="utf-8")):
        if step.file:
            (folder / step.file).write_text(step.content, encoding="utf-8")
            continue
        printed = sessions.run(step.command, folder)
        assert sessions.agrees(printed, step.printed), f"{page.name}: {step.command}\n{printed}"
        ran += 1
    assert ran > 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_block_of_a_page_is_indented(page: Path) -> None:
    """Such a block is shown like any other, but nobody would run it."""
    assert not re.findall(r"^[ \t]+```.*", page.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem in QUICK], ids=lambda page: page.stem)
def test_commands_print_what_a_page_says(page: Path, tmp_path: Path) -> None:
    """To the letter; one page here, the others take longer."""
    check_sessions(page, sessions.prepared(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.stem not in QUICK], ids=lambda page: page.stem
)
def test_commands_print_what_the_other_pages_say(page: Path, tmp_path: Path) -> None:
    """The tutorial and the how-tos."""
    check_sessions(page, sessions.prepared(tmp_path))


def test_lines_of_dots_stand_for_any_lines() -> None:
    """And nothing else does."""
    assert sessions.agrees("a\nb\nc\n", "a\n...\nc\n")
    assert sessions.agrees("a\nc\n", "a\n...\nc\n")
    assert sessions.agrees("anything\n", "")
    assert not sessions.agrees("a\nb\n", "a\n")
    assert not sessions.agrees("a.b\n", "a+b\n")


def test_prompts_of_python_print_what_the_tutorial_says() -> None:
    """Its `pycon` block is a doctest."""
    (block,) = re.findall(
        r"```pycon\n(.*?)```", (DOCS / "tutorial.md").read_text(encoding="utf-8"), re.DOTALL
    )
    test = doctest.DocTestParser().get_doctest(block, {}, "tutorial", "tutorial.md", 0)
    assert doctest.DocTestRunner().run(test).failed == 0


def test_the_reference_is_what_the_code_says() -> None:
    """If not: python docs/reference/make.py."""
    done = subprocess.run(
        [sys.executable, str(DOCS / "reference" / "make.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
@pytest.mark.parametrize("name", GALLERY)
def test_figures_are_drawn_from_the_numbers_that_are_kept(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers are of the study as it is: its curves, its points, its metric."""
    from coalsim.sweep.sweep_spec import open_sweep

    gallery = loaded("gallery/make.py")
    kept = json.loads((DOCS / "gallery" / f"{name}.json").read_text(encoding="utf-8"))
    spec = open_sweep(name)
    assert kept["title"] == spec.base.title
    assert sum(len(points) for points in kept["curves"].values()) == len(spec.points)
    assert {len(point) - 1 for points in kept["curves"].values() for point in points} == {spec.replications}
    monkeypatch.setattr(gallery, "HERE", tmp_path)
    gallery.draw(name, kept)
    assert (tmp_path / f"{name}.svg").read_bytes() == (DOCS / "gallery" / f"{name}.svg").read_bytes()


@pytest.mark.slow
def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    """As `make docs` builds it."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html", str(DOCS)]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "reference" / "costs.html").exists()
