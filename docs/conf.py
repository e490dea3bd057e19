"""Sphinx builds the docs with this: `make docs`."""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import django

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

project = "django-qerko"
author = "django-qerko contributors"
copyright = author
version = release = version_of("django-qerko")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"django-qerko {version}"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {
    "members": True,
    "exclude-members": "model_config, model_fields, model_computed_fields, model_post_init",
}


def spell_our_way(
    app: object, what: str, name: str, obj: object, options: object, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Answers are built with our spelling, though pydantic shows the alias; events are built by nobody but us."""
    if name.startswith("django_qerko.events."):
        return "", None
    if name.startswith("django_qerko.answers.") and signature:
        signature = re.sub(r"(?<=[a-z])[A-Z]", lambda letter: f"_{letter[0].lower()}", signature)
    return signature, returned


def setup(app: Any) -> None:
    app.connect("autodoc-process-signature", spell_our_way)
