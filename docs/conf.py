"""Builds the pages of this folder with Sphinx; ``make docs`` runs it with warnings as errors."""

import warnings

warnings.filterwarnings("ignore", message="`torch.jit.script` is deprecated", category=DeprecationWarning)  # PyG's own

project = "fullgraph"
author = "the fullgraph authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "fullgraph"

myst_heading_anchors = 3

default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = True
