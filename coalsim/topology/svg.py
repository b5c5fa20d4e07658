"""The few SVG elements that drawings need, with every text escaped.

Colours are classes of one style sheet with a dark variant (prefers-color-scheme), so
that a drawing fits a page of either kind.
"""

from collections.abc import Iterable, Mapping

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})
_LIGHT: Mapping[str, Mapping[str, str]] = {
    "page": {"fill": "#ffffff"},
    "ink": {"fill": "#1b2430"},
    "faint": {"fill": "#5d6875"},
    "socket": {"fill": "#f3f5f8", "stroke": "#9aa5b1"},
    "node": {"fill": "#ffffff", "stroke": "#c3cad3"},
    "cluster": {"fill": "#e7eef9", "stroke": "none"},
    "core": {"fill": "#3f74c4", "stroke": "none"},
    "on-core": {"fill": "#ffffff"},
    "link": {"stroke": "#7a8794", "fill": "none"},
    "hot": {"fill": "#d9642c"},
    "bar": {"fill": "#3f74c4"},
}
_DARK: Mapping[str, Mapping[str, str]] = {
    "page": {"fill": "#14181e"},
    "ink": {"fill": "#e6eaf0"},
    "faint": {"fill": "#98a4b1"},
    "socket": {"fill": "#1d232b", "stroke": "#59636f"},
    "node": {"fill": "#161b21", "stroke": "#3d4651"},
    "cluster": {"fill": "#22304a", "stroke": "none"},
    "core": {"fill": "#6d9be0", "stroke": "none"},
    "on-core": {"fill": "#10151b"},
    "link": {"stroke": "#8793a0", "fill": "none"},
    "hot": {"fill": "#e2713a"},
    "bar": {"fill": "#6d9be0"},
}


def escaped(text: str) -> str:
    """Text that means itself in an element or an attribute."""
    return text.translate(_ESCAPES)


def document(width: float, height: float, title: str, elements: Iterable[str]) -> str:
    """A whole SVG file."""
    lines = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}"'
        f' viewBox="0 0 {width:g} {height:g}" font-family="system-ui, sans-serif" role="img">',
        f"<title>{escaped(title)}</title>",
        f"<style>{_rules(_LIGHT)}@media (prefers-color-scheme: dark){{{_rules(_DARK)}}}</style>",
        rectangle(0, 0, width, height, "page"),
        *elements,
        "</svg>",
    )
    return "\n".join(lines) + "\n"


def _rules(colours: Mapping[str, Mapping[str, str]]) -> str:
    return "".join(
        f".{name}{{{';'.join(f'{key}:{value}' for key, value in rule.items())}}}"
        for name, rule in colours.items()
    )


def rectangle(
    x: float,
    y: float,
    width: float,
    height: float,
    kind: str,
    *,
    radius: float = 0,
    more: str = "",
    hint: str = "",
) -> str:
    """A box; `hint` shows when the mouse rests on it."""
    shape = f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" class="{kind}"'
    shape += f' rx="{radius:g}"' if radius else ""
    shape += f" {more}" if more else ""
    return f"{shape}><title>{escaped(hint)}</title></rect>" if hint else f"{shape}/>"


def text(
    x: float,
    y: float,
    words: str,
    kind: str = "ink",
    *,
    size: float = 12,
    anchor: str = "start",
    bold: bool = False,
) -> str:
    """One line of text; `y` is its base line."""
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" class="{kind}" font-size="{size:g}" text-anchor="{anchor}"{weight}>'
        f"{escaped(words)}</text>"
    )


def line(x1: float, y1: float, x2: float, y2: float, *, width: float = 1.5) -> str:
    """A straight line."""
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" class="link" stroke-width="{width:g}"/>'
