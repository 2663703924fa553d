"""Every control of a report is used: ``python -m tests.driving REPORT.html``, or from a test."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.browser import Browser, browser

# Each answers with what it did; a page that lacks the control answers with 0.
WAYS = {
    "layers and activations": """
        (() => { const all = [...document.querySelectorAll('[role=option]')];
                 for (const one of all) one.click(); return all.length; })()""",
    "steps": """
        (() => { const slider = document.querySelector('#step');
                 if (!slider.offsetParent) return 0;
                 for (let at = 0; at <= Number(slider.max); at++) {
                   slider.value = at; slider.dispatchEvent(new Event('input')); }
                 return Number(slider.max) + 1; })()""",
    "choices": """
        (() => { let count = 0;
                 for (const select of document.querySelectorAll('select'))
                   for (const option of select.options) {
                     select.value = option.value; select.dispatchEvent(new Event('change'));
                     count += 1; }
                 return count; })()""",
    "columns of tables": """
        (() => { let count = 0;
                 for (const tab of document.querySelectorAll('[role=tab]')) {
                   tab.click();
                   const titles = document.querySelectorAll('#table-head th').length;
                   for (let at = 1; at <= titles; at++, count++)
                     for (let time = 0; time < 3; time++)
                       document.querySelector(`#table-head th:nth-child(${at}) button`).click(); }
                 return count; })()""",
    "colours": """
        (() => { for (let time = 0; time < 3; time++) document.querySelector('#theme').click();
                 return 3; })()""",
    "links of findings": """
        (() => { const links = [...document.querySelectorAll('#findings a')];
                 for (const link of links) link.click(); return links.length; })()""",
}


def drive(chromium: Browser, page: Path) -> dict[str, int]:
    """How often each kind of control was used; the browser keeps what it complained of."""
    chromium.screen(1280, 900)
    chromium.complaints.clear()
    chromium.requests.clear()
    chromium.open(page.absolute().as_uri())
    used = {}
    for name, way in WAYS.items():
        used[name] = int(chromium.run(way))
        chromium.settle()
    return used


def main() -> None:
    """Say what was used, what the browser complained of, and what it asked the network for."""
    page = Path(sys.argv[1])
    with TemporaryDirectory() as profile, browser(Path(profile)) as chromium:
        for name, count in drive(chromium, page).items():
            print(f"{count:6}  {name}")
        asked = [one for one in chromium.requests if not one.startswith(("data:", "file:"))]
        print(f"{len(chromium.complaints):6}  complaints", *chromium.complaints)
        print(f"{len(asked):6}  requests to a network", *asked)


if __name__ == "__main__":
    main()
