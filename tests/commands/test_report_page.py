"""The page of ``condcli report`` in a real browser: it loads in silence, and its controls work."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from condcli.cli import run
from condcli.statsfile import write
from tests.browser import Browser
from tests.commands.test_report import data_of
from tests.synthetic import activation, diagonal, layer, stats

HOSTILE = "<img src=x onerror=document.title='owned'>\u202e[/bold]&amp;"
STEPS = (0, 40, 400, 1000)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of a run of four steps: five layers, the third with a hostile name, two activations."""
    folder = tmp_path_factory.mktemp("run")
    for place, step in enumerate(STEPS):
        layers = [
            layer(
                HOSTILE if order == 2 else f"blocks.{order}.fc",
                diagonal(*np.logspace(order - place, -6, 24)),
                diagonal(*np.logspace(-order * place, -8, 16)),
                order=order,
                weight_grad_singular_values=np.array([10.0 ** (-order - place), 0.0]),
            )
            for order in range(5)
        ]
        active = np.array([0, 100, 40, 3 + place])
        activations = (activation("relu1", active_count=active), activation("relu2", order=1))
        write(
            stats(*layers, activations=activations, step=step, loss=2.3 / (1 + place)),
            folder / f"{step}.h5",
        )
    output = folder / "page.html"
    assert run(["report", str(folder), "-o", str(output)]) == 0
    return output


@pytest.fixture
def shown(chromium: Browser, page: Path) -> Browser:
    """The page, freshly opened on a desktop's screen."""
    chromium.screen(1280, 900)
    return opened(chromium, page)


def opened(chromium: Browser, page: Path, address: str = "") -> Browser:
    chromium.complaints.clear()
    chromium.requests.clear()
    chromium.open(page.as_uri() + address)
    return chromium


def hash_of(chromium: Browser) -> str:
    """What the address says, some time after the last change."""
    found = chromium.run("new Promise((d) => setTimeout(() => d(location.hash), 400))")
    assert isinstance(found, str)
    return found


def cells(chromium: Browser, column: int) -> Any:
    """A column of the table at the page's end, as it stands there."""
    selector = f"'#table-body tr > :nth-child({column + 1})'"
    return chromium.run(f"[...document.querySelectorAll({selector})].map((c) => c.innerText)")


def test_it_loads_without_a_complaint_and_asks_nobody_for_anything(
    shown: Browser, page: Path
) -> None:
    assert shown.complaints == []
    assert [address for address in shown.requests if not address.startswith("data:")] == [
        page.as_uri()
    ]
    assert shown.run("document.querySelectorAll('canvas').length") >= 11
    assert shown.run("[...document.querySelectorAll('canvas')].every((c) => c.width > 200)")


def test_it_opens_at_what_the_gravest_finding_names(chromium: Browser, tmp_path: Path) -> None:
    layers = [layer(name, order=order) for order, name in enumerate(["fc1", "fc2", "fc3"])]
    layers[1] = layer("fc2", order=1, nonfinite="weight gradients")
    write(stats(*layers), tmp_path / "stats.h5")
    output = tmp_path / "page.html"
    assert run(["report", str(tmp_path / "stats.h5"), "-o", str(output)]) == 0
    opened(chromium, output)
    assert chromium.run("document.querySelector('#column [aria-selected=true]').id") == "layers-1"


def test_names_from_files_are_text(shown: Browser) -> None:
    assert shown.run("document.querySelectorAll('img').length") == 0
    assert shown.run("document.title") == "net.pt on digits"
    assert "<img src=x onerror" in shown.text("#layers-2")
    assert "\u202e" not in shown.run("document.body.innerText")


def test_the_policy_stops_code_and_requests_that_are_not_the_page_s(shown: Browser) -> None:
    shown.run(
        "document.body.append(Object.assign(document.createElement('script'),"
        " {text: 'window.owned = 1'}))"
    )
    assert shown.run("window.owned === undefined")
    assert (
        shown.run("fetch('http://127.0.0.1:9/').then(() => 'went', () => 'stopped')") == "stopped"
    )
    assert (
        shown.run(
            "new Promise((done) => { const i = new Image(); i.onerror = () => done('stopped');"
            " i.src = 'http://127.0.0.1:9/x.png'; })"
        )
        == "stopped"
    )
    assert len(shown.complaints) >= 3


def test_a_click_on_a_layer_shows_it(shown: Browser, page: Path) -> None:
    shown.click("#layers-3")
    assert shown.text("#item-name") == "blocks.3.fc"
    assert hash_of(shown) == "#layer=blocks.3.fc"
    assert shown.run("document.querySelector('#layers-3').getAttribute('aria-selected')") == "true"
    table = data_of(page)["steps"][0]["tables"]["spectrum"]
    last = data_of(page)["steps"][-1]["tables"]["spectrum"]
    numbers = shown.text("#layer-numbers")
    assert f"{last['lambda_max_input'][3]:g}" in numbers
    assert table["rank_input"][3] in numbers
    assert shown.complaints == []


def test_the_column_is_used_by_keys(shown: Browser) -> None:
    shown.run("document.querySelector('#column').focus()")
    for key, name in (
        ("ArrowDown", "blocks.1.fc"),
        ("End", "relu2"),
        ("ArrowUp", "relu1"),
        ("Home", "blocks.0.fc"),
        ("ArrowUp", "blocks.0.fc"),
    ):
        shown.press(key)
        assert shown.text("#item-name") == name
    shown.press("ArrowLeft")
    assert shown.text("#step-name") == "step 400 (3 of 4)"
    active = "document.querySelector('#column').getAttribute('aria-activedescendant')"
    assert shown.run(active) == "layers-0"
    assert shown.complaints == []


def test_the_slider_moves_everything_to_another_step(shown: Browser, page: Path) -> None:
    steps = data_of(page)["steps"]
    shown.run("document.querySelector('#step').focus()")
    assert shown.text("#step-name") == "step 1000 (4 of 4)"
    shown.press("ArrowLeft")
    shown.press("ArrowLeft")
    assert shown.text("#step-name") == "step 40 (2 of 4)"
    assert hash_of(shown) == "#step=40"
    assert f"{steps[1]['tables']['spectrum']['lambda_max_grad'][0]:g}" in shown.text(
        "#layer-numbers"
    )
    assert cells(shown, 5) == ["0.1", "1", "10", "100", "1e3"]
    shown.click("#later")
    assert shown.text("#step-name") == "step 400 (3 of 4)"
    assert shown.complaints == []


def legend(chromium: Browser, chart: str) -> Any:
    """Name and value of every entry."""
    rows = f"[...document.querySelectorAll('#{chart} .u-series')]"
    part = "r.querySelector('.u-{}').innerText"
    return dict(
        chromium.run(f"{rows}.map((r) => [{part.format('label')}, {part.format('value')}])")
    )


def test_a_legend_tells_of_the_chosen_place_or_of_all_until_the_pointer_is_in_the_chart(
    shown: Browser, page: Path
) -> None:
    shown.click("#layers-3")
    last = data_of(page)["steps"][-1]["tables"]["spectrum"]
    rest = legend(shown, "depth-size")
    assert rest["layer"] == "blocks.3.fc"
    assert float(rest["λ(Σx)"]) == pytest.approx(last["lambda_max_input"][3], rel=5e-3)
    assert legend(shown, "eigenvalues")["k/d"] == "all"
    low, high = map(float, legend(shown, "eigenvalues")["λ(Σx)"].split(" … "))
    assert high == pytest.approx(last["lambda_max_input"][3], rel=5e-3)
    assert low == pytest.approx(1e-6, rel=5e-3)
    shown.click("#eigenvalues .u-over", across=0.001)
    assert legend(shown, "eigenvalues")["k/d"] != "all"
    assert float(legend(shown, "eigenvalues")["λ(Σx)"]) == pytest.approx(high)
    shown.press("ArrowLeft")
    shown.click("#item-name")
    assert legend(shown, "eigenvalues")["k/d"] == "all"
    assert shown.complaints == []


def test_tables_are_sorted_by_a_click_and_back(shown: Browser) -> None:
    in_order = cells(shown, 0)
    title = "#table-head th:nth-child(6) button"
    direction = "document.querySelector('#table-head th:nth-child(6)').getAttribute('aria-sort')"
    found = []
    for _ in range(3):
        shown.click(title)
        found.append((shown.run(direction), cells(shown, 0)))
    assert found == [("descending", in_order[::-1]), ("ascending", in_order), ("none", in_order)]
    assert in_order[2].startswith("<img")
    shown.click("#tab-neurons")
    assert cells(shown, 0) == ["relu1", "relu2"]
    shown.click("#table-body tr:nth-child(2) a")
    assert shown.text("#item-name") == "relu2"
    assert shown.text("#table-body tr.chosen a") == "relu2"
    assert shown.complaints == []


def test_tabs_are_used_by_keys(shown: Browser) -> None:
    shown.run("document.querySelector('#tab-spectrum').focus()")
    shown.press("ArrowRight")
    assert shown.run("document.activeElement.id") == "tab-domination"
    assert "σ(∂W)" in shown.text("#table-head")


def test_a_link_leads_to_what_it_names(chromium: Browser, page: Path) -> None:
    chromium.screen(1280, 900)
    name = quote(data_of(page)["layers"][2]["name"], safe="")
    opened(chromium, page, f"#layer={name}&step=40&table=domination&sort=-ratio&theme=dark")
    assert chromium.text("#item-name").startswith("<img")
    assert chromium.text("#step-name") == "step 40 (2 of 4)"
    ratios = [float(cell) for cell in cells(chromium, 4)]
    assert ratios == sorted(ratios, reverse=True)
    assert chromium.run("document.documentElement.dataset.theme") == "dark"
    assert chromium.complaints == []
    opened(chromium, page, "#layer=nowhere&step=7&table=chairs&sort=%20&theme=pink")
    assert chromium.text("#item-name") == "blocks.0.fc"
    assert chromium.text("#step-name") == "step 1000 (4 of 4)"
    assert chromium.complaints == []


def test_an_activation_s_units_are_shown(shown: Browser) -> None:
    shown.click("#activations-0")
    assert "relu · 4 units · 100 rows" in shown.text("#item-facts")
    heights = shown.run("[...document.querySelectorAll('#histogram .bin')].map((b) => b.title)")
    assert len(heights) == 22
    assert (heights[0], heights[-1]) == ("1 units never on", "1 units always on")
    assert heights[1 + 8] == "1 units on for 40 to 45 % of the rows"
    assert shown.complaints == []


def test_the_map_chooses_a_layer_and_a_step(shown: Browser) -> None:
    shown.click("#map", across=0.3, down=0.7)
    assert shown.text("#step-name") == "step 40 (2 of 4)"
    assert shown.text("#item-name") == "blocks.3.fc"
    assert shown.complaints == []


def test_findings_and_turning_points_tell_since_when(shown: Browser, page: Path) -> None:
    steps = data_of(page)["steps"]
    at = {}
    for step in steps:
        for rule in {finding["rule"] for finding in step["findings"]}:
            at.setdefault(rule, []).append(step["step"])
    rows = shown.run("[...document.querySelectorAll('#finding-steps tr')].map((r) => r.innerText)")
    assert len(rows) == len(at) > 1
    for row in rows:
        [rule] = [rule for rule in at if rule in row]
        assert f"at {len(at[rule])} of 4 steps" in row
        assert f"step {at[rule][0]}" in row
        assert f"step {at[rule][-1]}" in row
    assert shown.run("document.querySelectorAll('#turning dt').length") == len(
        data_of(page)["turning"]
    )
    shown.click("#finding-steps button")
    first = int(shown.text("#finding-steps button").removeprefix("step "))
    assert shown.text("#step-name").startswith(f"step {first} ")
    assert shown.complaints == []


def test_every_control_has_a_name(shown: Browser) -> None:
    shown.call("Accessibility.enable")
    nodes = shown.call("Accessibility.getFullAXTree")["nodes"]
    shown.call("Accessibility.disable")
    kinds = (
        "button",
        "slider",
        "combobox",
        "searchbox",
        "listbox",
        "option",
        "tab",
        "link",
        "image",
    )
    found = [node for node in nodes if node.get("role", {}).get("value") in kinds]
    assert len(found) > 40
    assert [node for node in found if not node["name"]["value"].strip()] == []


def test_names_can_be_searched(shown: Browser) -> None:
    shown.run("document.querySelector('#filter').focus()")
    shown.call("Input.insertText", text="RELU")
    seen = "[...document.querySelectorAll('[role=option]')].filter((o) => !o.hidden).length"
    assert shown.run(seen) == 2
    shown.run("document.querySelector('#column').focus()")
    shown.press("Home")
    assert shown.text("#item-name") == "relu1"


def background(chromium: Browser) -> int:
    """Of the page, from 0 for black to 255 for white."""
    colour = chromium.run("getComputedStyle(document.body).backgroundColor")
    return int(colour.removeprefix("rgb(").split(",")[0])


def test_it_is_dark_where_the_system_is_until_told_otherwise(shown: Browser) -> None:
    assert background(shown) == 255
    shown.screen(1280, 900, scheme="dark")
    assert background(shown) < 50
    shown.click("#theme")
    assert "light" in shown.text("#theme")
    assert background(shown) == 255
    shown.screen(1280, 900)
    shown.click("#theme")
    assert background(shown) < 50
    assert shown.complaints == []


def test_paper_is_white_and_has_no_controls(shown: Browser) -> None:
    shown.screen(1280, 900, scheme="dark")
    shown.run("dispatchEvent(new Event('beforeprint'))")
    shown.screen(1280, 900, scheme="dark", media="print")
    assert background(shown) == 255
    visible = "(s) => [...document.querySelectorAll(s)].filter((e) => e.offsetParent).length"
    assert shown.run(f"({visible})('button:not(#table-head button, .step), input, select')") == 0
    assert shown.run("[...document.querySelectorAll('details')].every((d) => d.open)")
    shown.run("dispatchEvent(new Event('afterprint'))")
    shown.screen(1280, 900, scheme="dark")
    assert background(shown) < 50


@pytest.mark.parametrize("width", [360, 390, 768])
def test_it_fits_a_narrow_screen(chromium: Browser, page: Path, width: int) -> None:
    chromium.screen(width, 800)
    opened(chromium, page)
    assert chromium.run("document.documentElement.scrollWidth") <= width
    assert chromium.complaints == []


@pytest.mark.parametrize("content", ["nothing", "one layer", "not finite"])
def test_odd_files_make_pages_that_load(content: str, chromium: Browser, tmp_path: Path) -> None:
    broken = layer("x", np.full((3, 3), np.nan), np.full((2, 2), np.nan), nonfinite="all")
    layers = {"nothing": [], "one layer": [layer()], "not finite": [broken]}[content]
    write(stats(*layers, loss=float("nan"), accuracy=None), tmp_path / "odd.h5")
    assert run(["report", str(tmp_path / "odd.h5"), "-o", str(tmp_path / "odd.html")]) == 0
    chromium.screen(1280, 900)
    opened(chromium, tmp_path / "odd.html")
    assert chromium.complaints == []
    assert "odd.h5" in chromium.text("#verdict")
    assert not chromium.run("document.querySelector('#steps').offsetParent !== null")
