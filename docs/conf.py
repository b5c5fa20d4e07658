"""How the documentation is built: Sphinx with the Furo theme, pages in Markdown.

`make docs` builds it with warnings as errors, without a network.  The pages are the Markdown files
beside this one; they read well without being built, too.
"""

from coalsim import __version__

project = "coalsim"
author = "The coalsim authors"
copyright = author  # the name is Sphinx's
version = release = __version__

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["laboratory/words.md", "predictions/words.md"]  # parts that scripts make pages of
nitpicky = True
numfig = False
highlight_language = "none"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"coalsim {version}"
html_copy_source = False
html_show_sourcelink = False
html_last_updated_fmt = None  # the same sources give the same pages
html_theme_options = {"navigation_with_keys": True}
templates_path: list[str] = []
html_static_path: list[str] = []
