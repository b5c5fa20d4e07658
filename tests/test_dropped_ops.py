"""No operation is forgotten.

A function annotated `-> Op[T]` is a generator: calling it does nothing until it
is driven by `yield from`.  `lock.acquire(cpu)` as a statement would silently take
no lock.  This guard finds every such call, knowing the class of most receivers
from annotations, because a verb may wait in one class and not in another.
"""

import ast
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "coalsim"

DRIVERS = ("process", "wake_for_ever", "Thread", "run_thread", "_new_thread", "_timed", "_counted")
"""What takes a generator and drives it: SimPy's `env.process(op)`, an alarm, `Thread(name, op)`."""

ELEMENTS = ("list", "tuple", "deque", "Sequence", "Iterable", "Iterator", "Collection")
MAPPINGS = ("dict", "Mapping", "defaultdict", "OrderedDict")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _children(node: ast.AST) -> list[ast.AST]:
    """The nodes right below one, looked up once: each is asked for many times."""
    kept: list[ast.AST] | None = getattr(node, "kept_children", None)
    if kept is None:
        kept = [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr_context)]
        node.kept_children = kept  # type: ignore[attr-defined]
    return kept


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all below it, as `ast.walk` goes through them."""
    pending = deque([node])
    while pending:
        node = pending.popleft()
        pending.extend(_children(node))
        yield node


@dataclass
class Class:
    """What a class declares: methods, and the annotations of its attributes and properties."""

    bases: list[str]
    methods: dict[str, Function] = field(default_factory=dict)
    attributes: dict[str, ast.expr] = field(default_factory=dict)


@dataclass
class Program:
    """Every class and function of a set of modules, by name."""

    classes: dict[str, list[Class]] = field(default_factory=dict)
    functions: dict[str, list[Function]] = field(default_factory=dict)
    methods: dict[str, list[Function]] = field(default_factory=dict)

    def add(self, tree: ast.Module) -> None:
        """Learn the definitions of one module."""
        inside = {id(child) for node in _walk(tree) if isinstance(node, ast.ClassDef) for child in node.body}
        for node in _walk(tree):
            if isinstance(node, ast.ClassDef):
                known = _class(node)
                self.classes.setdefault(node.name, []).append(known)
                for name, method in known.methods.items():
                    self.methods.setdefault(name, []).append(method)
            elif isinstance(node, Function) and id(node) not in inside:
                self.functions.setdefault(node.name, []).append(node)

    def methods_named(self, name: str) -> list[Function]:
        """Methods of any class with this name."""
        return self.methods.get(name, [])

    def method(self, class_name: str, name: str) -> list[Function]:
        """The method that a class has under a name, its own or inherited; empty if unknown."""
        return [m for c in self.lineage(class_name) if (m := c.methods.get(name))][:1]

    def attribute(self, class_name: str, name: str) -> ast.expr | None:
        """The annotation of an attribute or property of a class."""
        for c in self.lineage(class_name):
            if name in c.attributes:
                return c.attributes[name]
        return None

    def lineage(self, class_name: str) -> Iterator[Class]:
        """Every class of that name, then their bases."""
        for c in self.classes.get(class_name, ()):
            yield c
            for base in c.bases:
                if base != class_name:
                    yield from self.lineage(base)


def _class(node: ast.ClassDef) -> Class:
    known = Class(bases=[_head(base) for base in node.bases])
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            known.attributes[item.target.id] = item.annotation
        if isinstance(item, Function):
            known.methods[item.name] = item
            if (
                any(_head(mark) in ("property", "cached_property") for mark in item.decorator_list)
                and item.returns
            ):
                known.attributes[item.name] = item.returns
            known.attributes |= {k: v for k, v in _self_attributes(item) if k not in known.attributes}
    return known


def _self_attributes(method: Function) -> Iterator[tuple[str, ast.expr]]:
    """What a method gives to self, with its type: annotated, a parameter's, or a constructor's."""
    parameters = {arg.arg: arg.annotation for arg in _arguments(method)}
    for node in _walk(method):
        match node:
            case ast.AnnAssign(
                target=ast.Attribute(value=ast.Name(id="self"), attr=name), annotation=annotation
            ):
                yield name, annotation
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)], value=value):
                match value:
                    case ast.Name(id=source) if parameters.get(source):
                        yield name, parameters[source]  # type: ignore[misc]
                    case ast.Call(func=ast.Name() as constructor):
                        yield name, constructor


def _arguments(function: Function) -> list[ast.arg]:
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def _head(node: ast.expr | None) -> str:
    """The bare name of a type or decorator: `Zone` of `"Zone | None"`, `list` of `list[Zone]`."""
    match node:
        case ast.Constant(value=str(text)):
            return _head(ast.parse(text, mode="eval").body)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value):
            return _head(value)
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            return (
                _head(left) if not (isinstance(left, ast.Constant) and left.value is None) else _head(right)
            )
    return ""


def _is_op(function: Function) -> bool:
    return _head(function.returns) == "Op"


def _element(annotation: ast.expr | None) -> ast.expr | None:
    """What a container holds."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    if isinstance(annotation, ast.Subscript):
        inner = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        if _head(annotation) in ELEMENTS:
            return inner[0]
        if _head(annotation) in MAPPINGS:
            return inner[-1]
    return None


class Scope:
    """The types of names inside one function, as far as annotations tell."""

    def __init__(
        self, program: Program, function: Function, class_name: str, modules: Sequence[str] = ()
    ) -> None:
        self.program = program
        self.types: dict[str, ast.expr | None] = {name: ast.Name("module") for name in modules}
        self.types |= {arg.arg: arg.annotation for arg in _arguments(function)}
        if class_name:
            self.types["self"] = ast.Name(class_name)
        for node in _walk(function):
            match node:
                case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                    self.types[name] = annotation
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self.types.setdefault(name, self.type_of(value))
                case ast.NamedExpr(target=ast.Name(id=name), value=value):
                    self.types.setdefault(name, self.type_of(value))
                case ast.For(target=ast.Name(id=name), iter=container):
                    self.types.setdefault(name, _element(self.type_of(container)))
                case ast.comprehension(target=ast.Name(id=name), iter=container):
                    self.types.setdefault(name, _element(self.type_of(container)))

    def type_of(self, node: ast.expr) -> ast.expr | None:
        """The annotation that describes an expression, if there is one."""
        match node:
            case ast.Name(id=name):
                return self.types.get(name)
            case ast.Attribute(value=value, attr=name):
                return self.program.attribute(_head(self.type_of(value)), name)
            case ast.Subscript(value=value):
                return _element(self.type_of(value))
            case ast.Call(func=ast.Name(id=name)) if name in self.program.classes:
                return ast.Name(name)
            case ast.Call(func=ast.Attribute(value=value, attr="values")):
                held = _element(self.type_of(value))
                return ast.Subscript(ast.Name("list"), held) if held else None
            case ast.Call():
                called = self.called(node)
                return called[0].returns if called and len({_head(c.returns) for c in called}) == 1 else None
            case ast.YieldFrom(value=ast.Call() as call) if called := self.called(call):
                returns = called[0].returns
                return returns.slice if isinstance(returns, ast.Subscript) else None
        return None

    def called(self, call: ast.Call) -> list[Function]:
        """The functions that a call may reach; those of every class if the receiver's is not known."""
        match call.func:
            case ast.Name(id=name):
                return self.program.functions.get(name, [])
            case ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr=name):
                own = next(self.program.lineage(_head(self.types.get("self"))), None)
                return [m for base in own.bases for m in self.program.method(base, name)] if own else []
            case ast.Attribute(value=receiver, attr=name):
                class_name = _head(self.type_of(receiver))
                if class_name in self.program.classes:
                    return self.program.method(class_name, name)
                if class_name:
                    return []  # a type from elsewhere: a list, an event
                return self.program.methods_named(name) + self.program.functions.get(name, [])
        return []

    def waits(self, call: ast.Call) -> bool:
        """Whether a call certainly makes an operation."""
        called = self.called(call)
        return bool(called) and all(_is_op(function) for function in called)


def dropped_ops(tree: ast.Module, program: Program) -> Iterator[tuple[int, str]]:
    """Line and text of every call that makes an operation and does not drive it."""
    modules = [
        name.asname or name.name
        for node in _walk(tree)
        if isinstance(node, ast.Import)
        for name in node.names
    ]
    for function, class_name in _functions(tree):
        scope = Scope(program, function, class_name, modules)
        driven = _driven(function)
        for node in _own_nodes(function):
            if isinstance(node, ast.Call) and id(node) not in driven and scope.waits(node):
                yield node.lineno, ast.unparse(node)


def _functions(tree: ast.Module) -> Iterator[tuple[Function, str]]:
    """Every function with the class around it; the module itself counts as a function."""
    yield ast.FunctionDef("module", ast.arguments([], [], None, [], [], None, []), tree.body, []), ""
    pending: list[tuple[ast.AST, str]] = [(tree, "")]
    while pending:
        node, class_name = pending.pop()
        for child in _children(node):
            if isinstance(child, Function):
                yield child, class_name
            pending.append((child, child.name if isinstance(child, ast.ClassDef) else class_name))


def _own_nodes(function: Function) -> Iterator[ast.AST]:
    """The nodes of a function, without those of functions and classes inside it."""
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop()
        if isinstance(node, Function | ast.ClassDef):
            continue
        yield node
        pending.extend(_children(node))


def _driven(function: Function) -> set[int]:
    """Calls whose generator somebody drives: here, whoever gets it returned, or a driver it is handed to.

    A driver may get it by a name that it was assigned to in the same function.
    """
    nodes = list(_own_nodes(function))
    handed = {
        argument.id
        for node in nodes
        if isinstance(node, ast.Call) and _head(node.func) in DRIVERS
        for argument in node.args
        if isinstance(argument, ast.Name)
    }
    is_generator = any(isinstance(node, ast.Yield | ast.YieldFrom) for node in nodes)
    driven = set()
    for node in nodes:
        match node:
            case ast.YieldFrom(value=value):
                driven |= _results(value)
            case ast.Return(value=ast.expr() as value) if _is_op(function) and not is_generator:
                driven |= _results(value)
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in handed:
                driven |= _results(value)
            case ast.Call() if _head(node.func) in DRIVERS:
                for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
                    driven |= _results(argument)
    return driven


def _results(node: ast.expr) -> set[int]:
    """The calls that an expression may evaluate to."""
    if isinstance(node, ast.IfExp):
        return _results(node.body) | _results(node.orelse)
    return {id(node)}


def test_no_operation_is_dropped() -> None:
    """Every call of an operation in the package is under `yield from`, returned, or given to a driver."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
    program = Program()
    for tree in trees.values():
        program.add(tree)
    faults = [
        f"{path.relative_to(PACKAGE.parent)}:{line}: {text} is called without `yield from`"
        for path, tree in trees.items()
        for line, text in dropped_ops(tree, program)
    ]
    assert any(_is_op(f) for same in program.classes.values() for c in same for f in c.methods.values())
    assert not faults, "\n".join(faults)


DEFINITIONS = """
class Lock:
    def acquire(self, cpu: Cpu) -> Op[None]:
        yield from cpu.sync()
    def release(self, cpu: "Cpu") -> Op[None]:
        yield from cpu.sync()

class Ticket(Lock):
    pass

class Bitmap:
    def alloc(self) -> int:
        return 1

class Cpu:
    def sync(self) -> "Op[None]":
        yield

class Zone:
    def __init__(self, lock: Lock, bitmaps: list[Bitmap]) -> None:
        self.lock = lock
        self.bitmap = Bitmap()
        self.bitmaps = bitmaps
        self.spare: Ticket | None = None
    def alloc(self, cpu: Cpu) -> Op[int]:
        yield from self.lock.acquire(cpu)
        return self.bitmap.alloc()
    @property
    def first(self) -> Lock:
        return self.lock

def drain(cpu: Cpu) -> Op[None]:
    yield from cpu.sync()
"""


def _faults(source: str) -> list[str]:
    program = Program()
    program.add(ast.parse(DEFINITIONS))
    tree = ast.parse(source)
    program.add(tree)
    return [text for _, text in dropped_ops(tree, program)]


@pytest.mark.parametrize(
    "body",
    [
        "cpu.sync()",
        "drain(cpu)",
        "zone.lock.acquire(cpu)",
        "zone.first.release(cpu)",
        "page = zone.alloc(cpu)",
        "zone.spare.acquire(cpu)",
        "yield cpu.sync()",
        "return drain(cpu)\n    yield",
        "yield from [cpu.sync()]",
        "if zone.alloc(cpu): pass",
        "for z in zones: z.alloc(cpu)",
        "zones[0].lock.acquire(cpu)",
        "own = Zone(zone.lock, [])\n    own.alloc(cpu)",
        "whatever.acquire(cpu)",
        "later = lambda: cpu.sync()",
        "def inner() -> None:\n        cpu.sync()",
    ],
)
def test_a_planted_drop_is_found(body: str) -> None:
    """An operation as a statement, a value, or yielded as such is found, whatever the receiver."""
    assert _faults(f"def f(cpu: Cpu, zone: Zone, zones: list[Zone]) -> Op[None]:\n    {body}\n")


def test_a_drop_in_a_method_is_found() -> None:
    """Inside a class, `self` and its attributes are known, inherited ones too."""
    source = "class Big(Zone):\n    def g(self, cpu: Cpu) -> None:\n        {}\n"
    assert _faults(source.format("self.alloc(cpu)"))
    assert _faults(source.format("self.lock.acquire(cpu)"))
    assert _faults(source.format("super().alloc(cpu)"))
    assert not _faults(source.format("self.bitmap.alloc()"))


@pytest.mark.parametrize(
    "body",
    [
        "yield from cpu.sync()",
        "page = yield from zone.alloc(cpu)",
        "yield from (zone.lock.acquire(cpu) if zone else drain(cpu))",
        "return drain(cpu)",
        "env.process(drain(cpu))",
        "Thread('drainer', body=drain(cpu))",
        "zone.bitmap.alloc()",
        "zone.bitmaps[0].alloc()",
        "for b in zone.bitmaps: b.alloc()",
        "names: list[str] = []\n    names.alloc()",
        "import os\n    os.drain(file)",
    ],
)
def test_driven_operations_and_plain_calls_are_left_alone(body: str) -> None:
    """Driving, returning and handing over are fine, and so is a namesake, a module's too."""
    assert not _faults(f"def f(cpu: Cpu, zone: Zone, zones: list[Zone]) -> Op[None]:\n    {body}\n")
