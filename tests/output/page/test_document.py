from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from condcli.output.page.document import document

HOSTILE = "</script><script>alert(1)</script><!--<script>\u2028&amp;\u202e"


class Elements(HTMLParser):
    """Every element, with its attributes and text, as a browser would part them."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self.found.append(("", {}, ""))

    def handle_data(self, data: str) -> None:
        if self.found:
            tag, attributes, text = self.found[-1]
            self.found[-1] = (tag, attributes, text + data)

    def named(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, text) for name, attributes, text in self.found if name == tag]


def digest(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def test_the_data_survive_whatever_they_hold_and_never_end_their_element() -> None:
    data = {"name": HOSTILE, "numbers": [1.5, None]}
    scripts = Elements(document(HOSTILE, data)).named("script")
    assert [attributes.get("type") for attributes, _ in scripts] == ["application/json", None, None]
    assert json.loads(scripts[0][1]) == data
    assert scripts[0][1].isascii()
    assert not set("<>&") & set(scripts[0][1])


def test_a_title_is_text() -> None:
    [(_, title)] = Elements(document(HOSTILE, {})).named("title")
    assert title == HOSTILE


def test_the_policy_allows_the_page_s_own_code_and_style_and_nothing_else() -> None:
    elements = Elements(document("net", {}))
    [policy] = [
        str(attributes["content"])
        for attributes, _ in elements.named("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    scripts = [text for attributes, text in elements.named("script") if not attributes]
    [(_, style)] = elements.named("style")
    assert rules == {
        "default-src": "'none'",
        "script-src": " ".join(map(digest, scripts)),
        "style-src": digest(style),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_nothing_in_the_page_names_another_place() -> None:
    page = document("net", {})
    attributes = [item for _, found, _ in Elements(page).found for item in found.items()]
    assert not [pair for pair in attributes if pair[0] in ("src", "srcset", "action")]
    assert [value for name, value in attributes if name == "href"] == ["data:,"]
    for way in ("url(", "@import", "eval(", "fetch(", "innerHTML", "outerHTML", "AdjacentHTML"):
        assert way not in page


def test_the_library_s_licence_is_in_the_page() -> None:
    [library] = [text for _, text in Elements(document("net", {})).named("script")][1:2]
    assert "uPlot (v1.6.32)" in library
    assert "Permission is hereby granted" in library


def test_the_same_data_make_the_same_page() -> None:
    assert document("net", {"a": [1]}) == document("net", {"a": [1]})


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        document("net", {"loss": float("nan")})
