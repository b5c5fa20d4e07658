"""Words and constructs that may not occur.

Paths of somebody's own machine have no place in a project, `print` bypasses
the one place that writes output, iterating over a set makes results depend on
hashing, and a hardware number without a source cannot be judged.
"""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "coalsim"
CACHES = {".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "__pycache__"}

# Put together from pieces, so that this file does not contain what it forbids.
FORBIDDEN = [
    re.compile(r"\.\." + "/shared"),
    re.compile("/" + r"work\b/"),
    re.compile("/" + r"tmp\b/"),
    re.compile("/" + r"(home|root|Users)/[a-z]"),
    re.compile(r"\b(cla" + "ude|anth" + "ropic|open" + "ai|chat" + r"gpt|copi" + r"lot)\b", re.IGNORECASE),
    re.compile(r"\b(TO" + "DO|FIX" + r"ME|XX" + r"X)\b"),
]


def text_files() -> Iterator[tuple[Path, str]]:
    """Every text file that belongs to the project."""
    for path in sorted(_project_files()):
        try:
            yield path, path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # binary, or removed but not yet committed


def _project_files() -> Iterator[Path]:
    """What git knows or would add; in an unpacked archive, everything that is no cache."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    if (ROOT / ".git").exists():
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
        yield from (ROOT / name for name in listing.split("\0") if name)
    else:
        yield from (
            path
            for path in ROOT.rglob("*")
            if path.is_file() and not CACHES & set(path.relative_to(ROOT).parts)
        )


def forbidden_words(text: str) -> Iterator[tuple[int, str]]:
    """Line and word of everything forbidden in a text."""
    for number, line in enumerate(text.splitlines(), 1):
        for pattern in FORBIDDEN:
            if found := pattern.search(line):
                yield number, found[0]


def test_no_forbidden_words() -> None:
    """No file of the project names a private path, a helper, or work left undone."""
    faults = [
        f"{path.relative_to(ROOT)}:{line}: {word!r}"
        for path, text in text_files()
        for line, word in forbidden_words(text)
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    "line",
    [
        "see .." + "/shared/notes.md",
        "open('/" + "work/x')",
        "cd /" + "tmp/y",
        "/" + "home/me",
        "TO" + "DO: later",
        "asked Chat" + "GPT",
    ],
)
def test_a_planted_word_is_found(line: str) -> None:
    """The guard detects each kind of forbidden word, on its line."""
    assert [number for number, _ in forbidden_words(f"fine\n{line}\n")] == [2]


def test_ordinary_words_are_left_alone() -> None:
    """Neither parts of words nor a kernel's own paths are forbidden."""
    assert not list(forbidden_words("a framework/ of /proc/lock_stat and shared/lines, tmp/x\n"))


def printing(source: str) -> Iterator[int]:
    """Lines that call print."""
    if "print" not in source:
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield node.lineno


def _is_set(node: ast.expr, named: frozenset[str]) -> bool:
    """Whether an expression is plainly a set: a literal, a call, an operation on one, or a name of one."""
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.BinOp(op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor()):
            return _is_set(node.left, named) or _is_set(node.right, named)
        case ast.Call(func=ast.Attribute(attr="union" | "intersection" | "difference", value=inner)):
            return _is_set(inner, named)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in named
    return False


def _names_of_sets(tree: ast.AST) -> frozenset[str]:
    """Names and attributes that are annotated as sets, or assigned one, anywhere in the module."""
    names = []
    for node in ast.walk(tree):
        targets: list[ast.expr] = []
        match node:
            case ast.AnnAssign(target=target, annotation=annotation):
                if re.match(r"(frozen)?set\b", ast.unparse(annotation)):
                    targets = [target]
            case ast.Assign(value=value) if _is_set(value, frozenset()):
                targets = node.targets
            case ast.arg(arg=name, annotation=ast.expr() as annotation):
                if re.match(r"(frozen)?set\b", ast.unparse(annotation)):
                    names.append(name)
        names += [
            t.id if isinstance(t, ast.Name) else t.attr
            for t in targets
            if isinstance(t, ast.Name | ast.Attribute)
        ]
    return frozenset(names)


def _without_order(tree: ast.AST) -> set[int]:
    """Comprehensions whose result has no order to be disturbed."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.SetComp():
                found.update(map(id, node.generators))
            case ast.Call(
                func=ast.Name(id=name), args=[ast.GeneratorExp(generators=generators)], keywords=[]
            ):
                if name in ("all", "any", "frozenset", "max", "min", "set", "sorted", "sum"):
                    found.update(map(id, generators))
    return found


def set_iterations(source: str) -> Iterator[int]:
    """Lines that go through a set in the order of its hashes."""
    tree = ast.parse(source)
    named = _names_of_sets(tree)
    harmless = _without_order(tree)
    for node in ast.walk(tree):
        if id(node) in harmless:
            continue
        match node:
            case ast.For(iter=iterated) | ast.comprehension(iter=iterated):
                pass
            case ast.YieldFrom(value=iterated) | ast.Starred(value=iterated):
                pass
            case ast.Call(func=ast.Name(id="list" | "tuple" | "iter" | "enumerate"), args=[iterated, *_]):
                pass
            case ast.Call(func=ast.Attribute(attr="join" | "extend"), args=[iterated]):
                pass
            case _:
                continue
        if _is_set(iterated, named):
            yield iterated.lineno


@pytest.mark.parametrize("guard", [printing, set_iterations], ids=["print", "iteration over a set"])
def test_the_package_is_free_of(guard: type) -> None:
    """Nothing prints past the command line, and nothing depends on the order of a set."""
    faults = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line in guard(path.read_text(encoding="utf-8"))
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    "source",
    [
        "for x in {1, 2}: pass",
        "a = [x for x in set(y)]",
        "a = list({x for x in y})",
        "for x in set(a) | b: pass",
        "def f(names: set[str]) -> None:\n for name in names: pass",
        "class A:\n def f(self) -> None:\n  self.s: set[int] = set()\n def g(self):\n  yield from self.s",
        "seen = set()\nfor x in seen: pass",
        "t = (*{1, 2},)",
        "a = ','.join({'x'})",
    ],
)
def test_a_planted_set_iteration_is_found(source: str) -> None:
    """The guard detects loops, comprehensions and conversions over plain sets."""
    assert list(set_iterations(source))


def test_uses_of_sets_that_have_no_order_are_left_alone() -> None:
    """Sorting makes an order, dicts have one; membership, sums and further sets need none."""
    source = "s = {1}\nfor x in sorted(s): pass\nfor k in {'a': 1}: pass\nb = 1 in s\nn = len(set(a))\n"
    source += "t = {x + 1 for x in s}\nu = any(x > 1 for x in s)\nv = sorted(x for x in s)\n"
    assert not list(set_iterations(source))


def bare_numbers(document: object, key: str = "") -> Iterator[str]:
    """Keys of decimal numbers, or of whole ones in a table of costs, without provenance beside them.

    Whole numbers elsewhere are counts, ids and switches, which no source can prove.
    """
    if isinstance(document, dict):
        if {"unit", "source", "status"} <= document.keys():
            return  # a number, or a table of numbers that share where they come from
        for name, item in document.items():
            yield from bare_numbers(item, f"{key}.{name}" if key else name)
    elif isinstance(document, list):
        for index, item in enumerate(document):
            yield from bare_numbers(item, f"{key}[{index}]")
    elif isinstance(document, float) or (
        isinstance(document, int) and not isinstance(document, bool) and key.startswith("costs.")
    ):
        yield key


def test_every_hardware_and_kernel_number_has_provenance() -> None:
    """Each number of the data files of profiles and machines has value, unit, source and status."""
    files = sorted([*PACKAGE.glob("profiles/**/*.toml"), *PACKAGE.glob("topology/**/*.toml")])
    faults = [
        f"{path.relative_to(ROOT)}: {key}"
        for path in files
        for key in bare_numbers(tomllib.loads(path.read_text(encoding="utf-8")))
    ]
    assert files
    assert not faults, "\n".join(faults)


def test_a_planted_bare_number_is_found() -> None:
    """A number counts as sourced only with all four parts."""
    document = tomllib.loads(
        "[costs]\na = 1\nb = {value = 2, unit = 'ns', source = 'x'}\n"
        "c = {value = 2, unit = 'ns', source = 'x', status = 'assumed'}\n[machine]\ncores = 4\nclock = 2.2\n"
    )
    assert list(bare_numbers(document)) == ["costs.a", "costs.b.value", "machine.clock"]
