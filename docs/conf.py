"""Sphinx configuration: README and ARCHITECTURE through MyST, the C++ interfaces through Breathe."""

project = "Lastbit"
author = "The Lastbit authors"
copyright = "2026, The Lastbit authors"
extensions = ["myst_parser", "breathe"]
breathe_projects = {"lastbit": "../build/docs/xml"}
breathe_default_project = "lastbit"
html_theme = "alabaster"
html_theme_options = {"description": "Bit-accurate DeepSeek-V3, and a forecast of its clusters", "page_width": "1080px"}
myst_heading_anchors = 3
