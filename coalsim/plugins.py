"""Classes by name: ours, those of installed packages, and a user's own.

A policy is named in one of four ways:

    mcs                  a name from the table of its part
    fairlock             an entry point of an installed package (group `coalsim.locks`, ...)
    mypackage.mod:Class  a class of a module on the import path
    ./file.py:Class      a class of a file

The last two run code that is not installed as a plugin, so they need trust: what
a person types on the command line is trusted, what a study file says is not.

Invariant: whatever goes wrong inside a user's file becomes a ConfigError with
its file and line; it never escapes as a traceback.
"""

import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar, cast

from coalsim.errors import ConfigError, Problem

T = TypeVar("T")

LONGEST_SHOWN = 120
"""Characters of a foreign answer that a message shows."""
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
"""Of an object in memory: another one in each process, so no message has it."""


@dataclass(frozen=True, kw_only=True)
class Registry(Generic[T]):
    """The classes of one kind, and what a foreign one has to look like.

    Args:
        kind: what people call one, for messages: "lock".
        group: entry point group: "coalsim.locks".
        classes: our own, by name.
        methods: what a class must be able to do, by attribute name.
    """

    kind: str
    group: str
    classes: Mapping[str, type[T]]
    methods: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        """Every name that needs no trust, ours first, then those of installed packages."""
        installed = sorted({point.name for point in entry_points(group=self.group)} - set(self.classes))
        return (*self.classes, *installed)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Who asked for a name, for messages and for trust.

    Args:
        key: the dotted key, for example kernel.lock.
        where: the file or option it was read from; line: its line, 0 for none.
        trust: whether a file or module may be loaded.
        folder: what a relative file name is relative to.
    """

    key: str = ""
    where: str = ""
    line: int = 0
    trust: bool = False
    folder: Path = Path()

    def refuse(self, value: str, message: str, remedy: str) -> ConfigError:
        """An error about this key."""
        return ConfigError(
            [
                Problem(
                    where=self.where,
                    line=self.line,
                    key=self.key,
                    value=value,
                    message=message,
                    remedy=remedy,
                )
            ]
        )


def names_code(name: str) -> bool:
    """Whether a name is that of a file or module and not of something installed."""
    return ":" in name or name.endswith(".py") or "/" in name


def names_file(name: str) -> bool:
    """Whether a name is that of a class in a file."""
    source = name.rpartition(":")[0]
    return source.endswith(".py") or "/" in source


def find_class(name: str, registry: Registry[T], asked: Asked) -> type[T]:
    """The class of that name.

    Raises:
        ConfigError: no such name, no trust, or the user's code does not load.
    """
    if name in registry.classes:
        return registry.classes[name]
    if names_code(name):
        return _checked(name, _from_code(name, registry.kind, asked), registry, asked)
    for point in entry_points(group=registry.group, name=name):
        try:
            found = point.load()
        except BaseException as error:
            raise _load_failure(name, None, error, asked) from None
        return _checked(name, found, registry, asked)
    near = get_close_matches(name, registry.names(), n=1)
    advice = f"did you mean {near[0]}? " if near else ""
    advice += f"the names are {', '.join(registry.names())}; your own is ./file.py:Class"
    raise asked.refuse(name, f"no such {registry.kind}", advice)


def require_trust(name: str, kind: str, asked: Asked) -> None:
    """Refuse the name of a file or module that may not be loaded.

    Raises:
        ConfigError: it is one, and there is no trust.
    """
    if names_code(name) and not asked.trust:
        raise asked.refuse(
            name,
            f"a {kind} by file or module runs code that a study file may not run by itself",
            "read that code, then repeat the command with --trust",
        )


def _from_code(name: str, kind: str, asked: Asked) -> object:
    """The object behind ``module:Class`` or ``./file.py:Class``."""
    source, _, attribute = name.rpartition(":")
    if not source or not attribute.isidentifier():
        raise asked.refuse(name, "no class is named", "write ./file.py:Class or module:Class")
    require_trust(name, kind, asked)
    by_file = names_file(name)
    module = _load_file(asked.folder / source, asked) if by_file else _load_module(source, asked)
    if not hasattr(module, attribute):
        own = [key for key, item in vars(module).items() if isinstance(item, type)]
        near = get_close_matches(attribute, own, n=1) or own[:1]
        remedy = f"did you mean {source}:{near[0]}?" if near else "define the class there"
        raise asked.refuse(name, f"{source} has no {attribute}", remedy)
    return getattr(module, attribute)


def _load_file(path: Path, asked: Asked) -> ModuleType:
    """Run a user's file as a module of its own; the same file is run once."""
    path = path.resolve()
    module_name = f"coalsim_user.{path}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    if not path.is_file():
        whose = "that you are in" if asked.folder == Path() else "of the study file"
        raise asked.refuse(str(path), "no such file", f"give the path from the folder {whose}")
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise asked.refuse(str(path), "not a Python file", "give the name of a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses and pickle look a class's module up by name
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[module_name]
        raise _load_failure(str(path), path, error, asked) from None
    return module


def _load_module(name: str, asked: Asked) -> ModuleType:
    try:
        return importlib.import_module(name)
    except BaseException as error:
        if isinstance(error, ModuleNotFoundError) and error.name and name.startswith(error.name):
            raise asked.refuse(
                name, "no such module", "install it, or give its file as ./file.py:Class"
            ) from None
        raise _load_failure(name, None, error, asked) from None


def _load_failure(name: str, path: Path | None, error: BaseException, asked: Asked) -> ConfigError:
    """What a user's failing code says, with the line nearest to the mistake that is theirs."""
    if isinstance(error, KeyboardInterrupt):
        raise error
    where, line = name, 0
    if isinstance(error, SyntaxError) and error.filename:
        where, line = error.filename, error.lineno or 0
    else:
        for frame in traceback.extract_tb(error.__traceback__):
            if frame.filename == str(path) or (path is None and _is_theirs(frame.filename)):
                where, line = frame.filename, frame.lineno or 0
    problem = Problem(
        where=where,
        line=line,
        key=asked.key,
        message=f"does not load: {error_line(error)}",
        remedy="mend this line",
    )
    return ConfigError([problem])


def failure_in(module: str, error: BaseException, key: str) -> ConfigError | None:
    """What a foreign module's own code did wrong while it ran; None if no line of it is on the way.

    Args:
        module: its name, as its classes say.
        error: what came out of the run.
        key: the dotted key that named the class.
    """
    found: tuple[str, int, BaseException] | None = None
    cause: BaseException | None = error
    while cause is not None and found is None:  # the engine raises copies, with the original as their cause
        for frame, line in traceback.walk_tb(cause.__traceback__):
            if frame.f_globals.get("__name__") == module:
                found = (frame.f_code.co_filename, line, cause)
        cause = cause.__cause__
    if found is None:
        return None
    where, line, cause = found
    message = f"failed while it ran: {error_line(cause)}"
    return ConfigError(
        [Problem(where=where, line=line, key=key, message=message, remedy="mend what this line does")]
    )


def nonsense(owner: type, method: str, key: str, message: str, remedy: str) -> ConfigError:
    """A foreign class has answered what makes no sense.

    Args:
        owner: the class.
        method: the one of its methods whose line is named.
        key: the dotted key that named the class.
        message: what it did, without its name.
        remedy: what it should have done.
    """
    where, line = place_of(owner, method)
    text = f"{owner.__qualname__} {message}"
    return ConfigError([Problem(where=where, line=line, key=key, message=text, remedy=remedy)])


def place_of(owner: type, method: str = "") -> tuple[str, int]:
    """File and line of a method of a class, or of the class itself where it has no such method of its own."""
    function = vars(owner).get(method)
    code = getattr(getattr(function, "fget", function), "__code__", None)
    if code is not None:
        return code.co_filename, code.co_firstlineno
    module = sys.modules.get(owner.__module__)
    where = getattr(module, "__file__", None) or owner.__module__
    try:
        return where, inspect.getsourcelines(owner)[1]
    except (OSError, TypeError):
        return where, 0


def shown(value: object) -> str:
    """A foreign answer, for a message: short, whatever it is, and even if it cannot be shown."""
    try:
        text = _ADDRESS.sub("", repr(value))
    except Exception:
        text = f"something of type {type(value).__name__}"
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."


def error_line(error: BaseException) -> str:
    """An exception in one line, whatever it is, and even if it cannot say it."""
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
    except Exception:
        text = ""
    text = _ADDRESS.sub("", text)
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text.strip() else type(error).__name__


def _is_theirs(filename: str) -> bool:
    return not filename.startswith("<frozen") and filename != __file__ and "importlib" not in filename


def _checked(name: str, found: object, registry: Registry[T], asked: Asked) -> type[T]:
    """The found object, if it is a class that can do what is asked of its kind."""
    if not isinstance(found, type):
        raise asked.refuse(name, f"not a class but {type(found).__name__}", "name the class itself")
    missing = [method for method in registry.methods if not callable(getattr(found, method, None))]
    if missing:
        raise asked.refuse(
            name, f"not a {registry.kind}: it has no {', '.join(missing)}", "add what is missing to the class"
        )
    return cast("type[T]", found)
