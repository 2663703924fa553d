"""Data, code and style become one HTML text that needs nothing else and may load nothing else."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from condcli import __version__

_SCRIPTS = (
    "data.js",
    "charts.js",
    "findings.js",
    "column.js",
    "detail.js",
    "depth.js",
    "run.js",
    "tables.js",
    "page.js",  # last: it starts the others
)


def document(title: str, data: Mapping[str, Any]) -> str:
    """The page that shows `data`, which holds no NaN and no infinity.

    Its policy lets a browser run the scripts in it, told by their digests, and no others, and
    lets nothing be fetched. Data are text to it and never markup.
    """
    library = f"/*\n{_part('uplot.LICENSE')}\n*/\n{_part('uplot.min.js')}"
    script = "\n".join(map(_part, _SCRIPTS))
    style = _part("uplot.min.css") + _part("page.css")
    policy = (
        f"default-src 'none'; script-src {_digest(library)} {_digest(script)}; "
        f"style-src {_digest(style)}; img-src data:; base-uri 'none'; form-action 'none'"
    )
    return Template(_part("page.html")).substitute(
        title=escape(title),
        version=__version__,
        policy=escape(policy, quote=True),
        style=style,
        data=_inert(data),
        library=library,
        script=script,
    )


def _inert(data: Mapping[str, Any]) -> str:
    """JSON in ASCII without <, > and &: no text in it can end the element that it stands in."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _part(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
