"""The page in a real browser: headless Chromium, driven by playwright.

Without a Chromium on PATH these tests skip themselves and say so.  They are slow ones because a browser
takes seconds to start; `.ci/run` runs them all the same.
"""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from reported import HOSTILE, hostile

from coalsim.report.numbers import quantity_text
from coalsim.report.page import report_html
from coalsim.sweep.points import Axis, Point
from coalsim.sweep.results import StudyResults

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 20_000  # ms of the host after which a step is given up
VALUES = [
    (0.0, "ns"),
    (258.965, "ns"),
    (1.5e-2, "ns"),
    (3003333.3, "1/s"),
    (12.0, "1/s"),
    (3e9, "B"),
    (1234567.0, ""),
]
VALUES += [(0.3, ""), (2048.0, "KiB"), (-5.25, "ms"), (99999.6, "us"), (1e15, "ps"), (0.004, "1/s")]


def a_thousand(results: StudyResults) -> StudyResults:
    """20 curves of 50 points, whose runs are those of a small study, over and over."""
    curves = tuple((f"lock {number}",) for number in range(20))
    places = tuple((cpus,) for cpus in range(1, 51))
    axes = (
        Axis(keys=("kernel.lock",), values=curves, label="lock", scale="none"),
        Axis(keys=("workload.cpus",), values=places, label="CPUs", scale="linear"),
    )
    points = tuple(
        replace(
            results.points[(number * number + number // 50) % len(results.points)],
            point=Point(number=number, key="", settings=(("kernel.lock", lock), ("workload.cpus", cpus))),
        )
        for number, ((lock,), (cpus,)) in enumerate(product(curves, places))
    )
    metrics = (*results.show.metrics, "latency_ns.p99")
    return replace(results, axes=axes, points=points, show=replace(results.show, metrics=metrics))


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(
            f"no Chromium on PATH (looked for {', '.join(NAMES)}): the page was not tried in a browser"
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=found, args=["--no-sandbox"], timeout=3 * PATIENCE)
        try:
            yield started
        finally:
            started.close()


class Visit:
    """A page that was opened, with all that it said and asked for."""

    def __init__(self, browser: "Browser", file: Path, width: int = 1200) -> None:
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme="light")
        context.set_default_timeout(PATIENCE)
        self.page: Page = context.new_page()
        self.faults: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())
        self.own = file.as_uri()

    def style(self, what: str, name: str) -> str:
        """A computed style of the first element that fits."""
        return str(self.page.eval_on_selector(what, f"element => getComputedStyle(element)['{name}']"))

    def close(self) -> None:
        """End it; nothing was said on the console, and nothing was asked for but the file itself."""
        self.page.context.close()
        assert self.faults == []
        assert [url for url in self.requests if not url.startswith(("data:", "blob:"))] == [self.own]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, results: StudyResults) -> Path:
    written = tmp_path_factory.mktemp("page") / "report.html"
    written.write_text(report_html(results), encoding="utf-8")
    return written


@pytest.fixture
def visit(browser: "Browser", file: Path) -> Iterator[Visit]:
    visit = Visit(browser, file)
    yield visit
    visit.close()


def test_the_pointer_and_the_keys_show_values_with_intervals(visit: Visit) -> None:
    """Over a chart and over a stack; the text is that of the results, also for screen readers."""
    chart = visit.page.locator("figure.chart").first
    tip = chart.locator(".tip")
    assert not tip.is_visible()
    chart.locator("> svg").hover(position={"x": 300, "y": 100})
    assert tip.is_visible()
    assert "CPUs = " in tip.inner_text()
    assert "mcs" in tip.inner_text()
    assert "±" in tip.inner_text()
    visit.page.mouse.move(5, 5)
    assert not tip.is_visible()
    chart.locator("> svg").focus()
    visit.page.keyboard.press("ArrowRight")
    assert tip.inner_text().startswith("CPUs = 1")
    visit.page.keyboard.press("ArrowRight")
    assert chart.locator(".hear").inner_text().startswith("CPUs = 2 · 2 runs: ")
    visit.page.keyboard.press("Escape")
    assert not tip.is_visible()
    stack = visit.page.locator("figure.stack").first
    stack.locator("> svg").hover()
    assert "lock:lock_loop:hold" in stack.locator(".tip").inner_text()


def test_curves_go_and_come_by_click_and_by_keyboard(visit: Visit) -> None:
    """In all figures at once; Shift leaves only one."""
    page = visit.page
    curves = page.locator("figure.chart").first.locator("g.series")
    assert curves.count() == 2
    page.locator(".legend button", has_text="ticket").click()
    assert curves.count() == 1
    assert page.locator("figure.stack").count() == 1
    assert page.locator(".legend button", has_text="ticket").get_attribute("aria-pressed") == "false"
    page.locator(".legend button", has_text="ticket").focus()
    page.keyboard.press("Enter")
    assert curves.count() == 2
    page.locator(".legend button", has_text="mcs").click(modifiers=["Shift"])
    assert curves.count() == 1
    assert curves.first.get_attribute("data-series") == "0"


def test_axes_become_logarithmic_and_linear(visit: Visit) -> None:
    """The study asks for a logarithmic x: 1, 2 and 4 are equally far apart, until the button is pressed."""
    page = visit.page

    def gaps() -> list[float]:
        ticks = page.locator("figure.chart").first.locator("text.tick[text-anchor=middle]")
        at = [float(tick.get_attribute("x") or "nan") for tick in ticks.all()]
        return [other - one for one, other in pairwise(at)]

    one, other = gaps()
    assert abs(one - other) < 1
    assert page.locator("#log-x").get_attribute("aria-pressed") == "true"
    page.locator("#log-x").click()
    one, other = gaps()
    assert abs(2 * one - other) < 1
    before = page.locator("figure.chart path.curve").first.get_attribute("d")
    page.locator("#log-y").click()
    assert page.locator("figure.chart path.curve").first.get_attribute("d") != before


def test_a_log_axis_holds_all_means_and_tells_what_it_cannot_show(
    browser: "Browser", results: StudyResults, tmp_path: Path
) -> None:
    """A wide interval does not push its mean below the axis; a value of zero is left out, and told."""
    waits = "locks.lock_loop.waittime_total"
    file = tmp_path / "report.html"
    shown = replace(results.show, metrics=(waits,), log=("x", "y"))
    file.write_text(report_html(replace(results, show=shown)), encoding="utf-8")
    visit = Visit(browser, file)
    chart = visit.page.locator("figure.chart")
    assert chart.locator("text.lost").text_content() == "2 not above 0: not on a log axis"
    axis = float(chart.locator("line.axis").first.get_attribute("y1") or "nan")
    drawn = str(chart.locator("path.curve").first.get_attribute("d"))
    heights = [float(spot.split()[1]) for spot in drawn[1:].split("L")]
    assert len(heights) == 2, "of three places"
    assert all(height < axis - 1 for height in heights)
    visit.close()


def test_dark_and_light_by_system_and_by_button(visit: Visit) -> None:
    """The button goes before the system."""
    page = visit.page
    light = visit.style("body", "backgroundColor")
    page.emulate_media(color_scheme="dark")
    dark = visit.style("body", "backgroundColor")
    assert dark != light
    page.locator("#theme").click()
    assert visit.style("body", "backgroundColor") == light
    page.locator("#theme").click()
    assert visit.style("body", "backgroundColor") == dark


def test_paper_is_white_and_has_no_buttons(visit: Visit) -> None:
    """Also where the page was dark."""
    visit.page.locator("#theme").click()
    visit.page.emulate_media(media="print")
    assert visit.style("body", "backgroundColor") == "rgb(255, 255, 255)"
    for what in ("#theme", "nav", "#log-x", "#download"):
        assert visit.style(what, "display") == "none"
    assert visit.page.locator("figure.chart svg path.curve").first.is_visible()


def test_stacks_show_shares_and_time_of_an_operation(visit: Visit) -> None:
    """By a button; the lock table changes with its list."""
    page = visit.page
    axis = page.locator("figure.stack").first.locator("text.tick").first
    assert axis.text_content() == "0 %"
    page.locator("#per-operation").click()
    assert axis.text_content() == "0"
    before = page.locator("#lock-table").inner_text()
    page.locator("#lock-point").select_option("0")
    assert page.locator("#lock-table").inner_text() != before


def test_the_configuration_is_downloaded_from_the_page(visit: Visit) -> None:
    """As the text that stands on it."""
    with visit.page.expect_download() as download:
        visit.page.locator("#download").click()
    assert download.value.suggested_filename == "small.json"
    assert Path(download.value.path()).read_text() == visit.page.locator("#config").text_content()


def test_a_narrow_phone_needs_no_sideways_scrolling(browser: "Browser", file: Path) -> None:
    """320 pixels."""
    visit = Visit(browser, file, width=320)
    visit.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert visit.page.evaluate("document.documentElement.scrollWidth") == 320
    visit.close()


def test_the_script_writes_numbers_as_the_tables_do(browser: "Browser") -> None:
    """The rules are written down twice, in Python and in the page's script."""
    from importlib.resources import files

    script = (files("coalsim.report") / "script" / "numbers.js").read_text(encoding="utf-8")
    context = browser.new_context()
    told = context.new_page().evaluate(
        f"(values) => {{ {script}; return values.map(([value, unit]) => quantityText(value, unit)); }}",
        [[value, unit] for value, unit in VALUES],
    )
    context.close()
    assert told == [quantity_text(value, unit) for value, unit in VALUES]


def test_hostile_words_do_nothing_in_a_browser(
    browser: "Browser", results: StudyResults, tmp_path: Path
) -> None:
    """They are shown, in the page and in what its script draws."""
    file = tmp_path / "report.html"
    file.write_text(report_html(hostile(results)), encoding="utf-8")
    visit = Visit(browser, file)
    assert visit.page.title() == HOSTILE
    assert visit.page.locator("h1").text_content() == HOSTILE
    assert visit.page.locator(".legend button").first.text_content() == HOSTILE
    visit.page.locator("figure.chart > svg").first.hover()
    assert HOSTILE in visit.page.locator(".tip").first.inner_text()
    assert visit.page.evaluate("typeof window.hacked") == "undefined"
    assert visit.page.locator("img").count() == 0
    visit.close()


def test_what_gets_into_the_page_is_not_run_and_loads_nothing(browser: "Browser", file: Path) -> None:
    """The policy is a second wall: a script and a picture that were smuggled in are refused."""
    visit = Visit(browser, file)
    visit.page.evaluate(
        """() => {
            const add = (tag, more) => document.body.append(Object.assign(document.createElement(tag), more));
            add("script", {text: "window.hacked = 1"});
            add("img", {src: "http://localhost:9/x"});
        }"""
    )
    assert visit.page.evaluate("typeof window.hacked") == "undefined"
    visit.page.wait_for_function("document.images[0].complete")
    assert len([fault for fault in visit.faults if "Content Security Policy" in fault]) == 2
    visit.page.context.close()


def test_a_thousand_points_are_small_and_drawn_at_once(
    browser: "Browser", results: StudyResults, tmp_path: Path
) -> None:
    """Under 3 MB, and all figures drawn in under 2 s."""
    file = tmp_path / "report.html"
    file.write_text(report_html(a_thousand(results)), encoding="utf-8")
    assert file.stat().st_size < 3_000_000
    visit = Visit(browser, file)
    assert visit.page.locator("figure.chart").count() == 4
    assert visit.page.locator("figure.chart").first.locator("g.series").count() == 20
    assert visit.page.evaluate("performance.getEntriesByName('coalsim-draw')[0].duration") < 2000
    visit.close()
