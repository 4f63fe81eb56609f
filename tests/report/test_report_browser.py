"""The page in a real browser, without network: sorting, filters, pictures, widths, dark mode.

Needs chromium and chromedriver (Debian: chromium, chromium-driver); skipped without them.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import page_samples
import pytest
import task_samples

from genbench.report import write

selenium = pytest.importorskip("selenium", reason="needs selenium: pip install genbench[test]")

from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.remote.webelement import WebElement  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="needs chromium and chromedriver"
)

# Every visible text with its colour and the colour behind it, as [text, colour, background].
TEXTS = """
const found = [];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const behind = (element) => {
  for (; element; element = element.parentElement) {
    const colour = getComputedStyle(element).backgroundColor;
    if (!/, 0\\)$|transparent/.test(colour)) return colour;
  }
};
while (walk.nextNode()) {
  const text = walk.currentNode.textContent.trim(), element = walk.currentNode.parentElement;
  const seen = !["SCRIPT", "STYLE"].includes(element.tagName) && element.getClientRects().length;
  if (text && seen) found.push([text, getComputedStyle(element).color, behind(element)]);
}
return found;
"""


class Page:
    """The page in the browser."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def cdp(self, command: str, /, **arguments: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, arguments)

    def js(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(code, *arguments)

    def open(
        self, path: Path, *, width: int = 1280, height: int = 900, dark: bool = False
    ) -> None:
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        media = {"prefers-color-scheme": "dark" if dark else "light"}
        media["prefers-reduced-motion"] = "reduce"  # smooth scrolling would move what is clicked
        features = [{"name": name, "value": value} for name, value in media.items()]
        self.cdp("Emulation.setEmulatedMedia", features=features)
        self.driver.get(path.as_uri())

    def all(self, css: str) -> list[WebElement]:
        return list(self.driver.find_elements(By.CSS_SELECTOR, css))

    def one(self, css: str) -> WebElement:
        found = self.all(css)
        assert len(found) == 1, (css, len(found))
        return found[0]

    def head(self, name: str) -> WebElement:
        """The head of a column of the leaderboard."""
        return next(h for h in self.all("#leaderboard thead th") if h.text.startswith(name))

    def column(self, name: str) -> list[str]:
        """The raw values of a column, in the order that is seen."""
        values: list[str] = self.js(
            "const i = arguments[0].cellIndex;"
            "return [...document.querySelectorAll('#leaderboard tbody tr')]"
            ".filter(r => !r.hidden).map(r => r.cells[i].dataset.value ?? r.cells[i].textContent)",
            self.head(name),
        )
        return values

    @property
    def focused(self) -> WebElement:
        element: WebElement = self.driver.switch_to.active_element
        return element

    def errors(self) -> list[str]:
        return [e["message"] for e in self.driver.get_log("browser") if e["level"] == "SEVERE"]


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        opened = Page(driver)
        opened.cdp("Network.enable")
        opened.cdp(
            "Network.emulateNetworkConditions",
            offline=True, latency=0, downloadThroughput=0, uploadThroughput=0,
        )  # fmt: skip
        yield opened
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_samples.well(tmp_path_factory.mktemp("well"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_samples.hostile(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("several")
    write(task_samples.folder(root, ("class_label", "caption")), root)
    return root / "report.html"


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.1 defines it, of `rgb(r, g, b)`."""
    parts = [float(p) / 255 for p in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


# --- loading -------------------------------------------------------------------------------------


def test_it_loads_without_errors_and_without_network(page: Page, well: Path) -> None:
    page.driver.get_log("performance")
    page.open(well)
    assert page.errors() == []
    messages = [json.loads(e["message"])["message"] for e in page.driver.get_log("performance")]
    urls = [
        m["params"]["request"]["url"]
        for m in messages
        if m["method"] == "Network.requestWillBeSent"
    ]
    assert well.as_uri() in urls
    assert all(url == well.as_uri() or url.startswith("data:") for url in urls)


def test_every_picture_is_there(page: Page, well: Path) -> None:
    for dark in (False, True):
        page.open(well, dark=dark)
        pictures = page.js(
            "return [...document.querySelectorAll('main img')]"
            ".map(i => [i.complete, i.naturalWidth, i.alt, i.currentSrc])"
        )
        assert len(pictures) == 4 + 6
        assert all(done and width > 0 and alt for done, width, alt, _ in pictures)
        shown = [source for _, _, _, source in pictures[:4]]
        wanted = page.js(
            f"return [...document.querySelectorAll('.plots {'source' if dark else 'img'}')]"
            f".map(e => e.getAttribute('{'srcset' if dark else 'src'}'))"
        )
        assert shown == wanted


@pytest.mark.parametrize("name", ["well", "hostile", "several"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_overflows(
    page: Page, name: str, width: int, request: pytest.FixtureRequest
) -> None:
    page.open(request.getfixturevalue(name), width=width, height=844)
    assert page.js("return innerWidth") == width
    assert page.js("return document.documentElement.scrollWidth") <= width
    scrolled = page.js(
        "const e = document.querySelector('.tools + .scroll'); e.scrollLeft = 9999;"
        "const r = e.querySelector('tbody th').getBoundingClientRect();"
        "return [e.scrollLeft, r.left - e.getBoundingClientRect().left]"
    )
    if width < 400:
        assert scrolled[0] > 0, "the table scrolls inside its container"
        assert abs(scrolled[1]) < 1, "and its first column stays in sight"


# --- the table -----------------------------------------------------------------------------------


def numbers(values: list[str]) -> list[float | None]:
    return [float(v) if v else None for v in values]


def test_sorting_by_numbers(page: Page, well: Path) -> None:
    page.open(well)
    head = page.head("FD (digits-cnn)")
    before = numbers(page.column("FD (digits-cnn)"))
    assert before == [13.5, 10.0, 100.0, 5.0, 4.0, None, 0.5]
    assert head.get_attribute("aria-sort") is None
    head.find_element(By.TAG_NAME, "button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert numbers(page.column("FD (digits-cnn)")) == [0.5, 4.0, 5.0, 10.0, 13.5, 100.0, None]
    head.find_element(By.TAG_NAME, "button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert numbers(page.column("FD (digits-cnn)")) == [100.0, 13.5, 10.0, 5.0, 4.0, 0.5, None]
    other = page.head("ms/image")
    other.find_element(By.TAG_NAME, "button").click()
    found = numbers(page.column("ms/image"))
    assert found == [0.001, 0.01, 0.02, 0.03, 0.5, 0.5, 2.5]
    assert head.get_attribute("aria-sort") is None
    assert other.get_attribute("aria-sort") == "ascending"


@pytest.mark.parametrize("key", [Keys.ENTER, Keys.SPACE])
def test_sorting_by_keys_and_by_words(page: Page, well: Path, key: str) -> None:
    page.open(well)
    head = page.head("model")
    button = head.find_element(By.TAG_NAME, "button")
    button.send_keys(key)
    assert head.get_attribute("aria-sort") == "ascending"
    names = page.column("model")
    assert names == [
        *("cgan", "dcgan", "ddpm (ddim-10)", "ddpm (ddim-50)", "pix2pix", "real", "vae")
    ]
    page.focused.send_keys(key)
    assert page.column("model") == names[::-1]


def test_words_sort_by_the_numbers_inside(page: Page, well: Path) -> None:
    page.open(well)
    page.js(
        "document.querySelectorAll('#leaderboard tbody tr').forEach((row, i) =>"
        " row.cells[0].textContent = ['ddim-100', 'ddim-9', 'b', 'a'][i] ?? `x${i}`)"
    )
    page.head("model").find_element(By.TAG_NAME, "button").click()
    assert page.column("model")[:4] == ["a", "b", "ddim-9", "ddim-100"]


def test_the_text_filter(page: Page, well: Path) -> None:
    page.open(well)
    count = page.one("#leaderboard .count")
    assert count.text == "7 of 7 rows" and count.get_attribute("aria-live") == "polite"
    search = page.one("#leaderboard input[type=search]")
    search.send_keys("DDPM 50")
    assert page.column("model") == ["ddpm (ddim-50)"]
    assert count.text == "1 of 7 rows"
    search.clear()
    search.send_keys("no such row")
    assert page.column("model") == [] and count.text == "0 of 7 rows"


def test_the_kind_filter(page: Page, well: Path) -> None:
    page.open(well)
    boxes = {b.get_attribute("value"): b for b in page.all("#leaderboard input[type=checkbox]")}
    assert list(boxes) == ["GAN", "autoencoder", "diffusion", "translation", "reference"]
    for name in ("autoencoder", "diffusion", "translation", "reference"):
        boxes[name].click()
    assert page.column("model") == ["dcgan", "cgan"]
    page.one("#leaderboard input[type=search]").send_keys("dcgan")
    assert page.column("model") == ["dcgan"]
    boxes["GAN"].click()
    assert page.one("#leaderboard .count").text == "0 of 7 rows"
    page.head("FD (digits-cnn)").find_element(By.TAG_NAME, "button").click()
    assert page.column("model") == [], "sorting keeps the filter"


# --- several tables ------------------------------------------------------------------------------


def test_each_table_is_sorted_and_filtered_alone(page: Page, several: Path) -> None:
    page.open(several)
    ids = ("table-class-label-on-digits", "table-caption-on-scenes-32")

    def names(name: str) -> list[str]:
        rows = page.all(f"#{name} tbody tr:not([hidden]) th")
        return [row.text for row in rows]

    assert [names(name) for name in ids] == [["cgan", "ddpm", "real"]] * 2
    page.all(f"#{ids[0]} thead button")[0].click()
    page.all(f"#{ids[0]} thead button")[0].click()
    assert names(ids[0]) == ["real", "ddpm", "cgan"] and names(ids[1])[0] == "cgan"
    page.one(f"#{ids[1]} input[type=search]").send_keys("ddpm")
    assert names(ids[1]) == ["ddpm"] and len(names(ids[0])) == 3


def test_the_contents_lead_to_the_tables(page: Page, several: Path) -> None:
    page.open(several)
    page.all("#tables tbody a")[1].click()
    top = "return document.getElementById(arguments[0]).getBoundingClientRect().top"
    assert abs(page.js(top, "table-caption-on-scenes-32")) < 2


def test_pictures_with_words_are_large(page: Page, several: Path) -> None:
    page.open(several)
    width = "return arguments[0].getBoundingClientRect().width"
    overview, first = page.all("#table-caption-on-scenes-32 .enlarge")[:2]
    assert page.js(width, overview) > 800 and page.js(width, first) > 480
    narrow = page.all("#table-class-label-on-digits .enlarge")[1]
    assert page.js(width, narrow) < 300
    page.js("arguments[0].click()", first)
    shown = page.one("dialog img")
    assert shown.get_attribute("class") == "wide"
    assert page.js("return getComputedStyle(arguments[0]).imageRendering", shown) == "auto"
    natural = page.js("return arguments[0].naturalWidth", shown)
    assert abs(page.js(width, shown) - natural) < 2, "words at the size they were drawn in"


# --- pictures ------------------------------------------------------------------------------------


def test_the_dialog(page: Page, well: Path) -> None:
    page.open(well)
    buttons, dialog = page.all(".enlarge"), page.one("dialog")
    assert len(buttons) == 6 and not dialog.is_displayed()
    buttons[1].send_keys(Keys.ENTER)
    assert dialog.is_displayed()
    picture = dialog.find_element(By.TAG_NAME, "img")
    assert picture.get_attribute("alt") == "64 samples of cgan, seed 0"
    assert dialog.text.startswith("64 samples of cgan, seed 0 (2 of 6)")
    thumb = page.js("return arguments[0].getBoundingClientRect().width", buttons[1])
    assert page.js("return arguments[0].getBoundingClientRect().width", picture) > 2 * thumb
    page.focused.send_keys(Keys.ESCAPE)
    assert not dialog.is_displayed() and page.focused == buttons[1]
    buttons[0].click()
    page.focused.send_keys(Keys.ARROW_RIGHT)
    assert picture.get_attribute("alt") == "64 samples of cgan, seed 0"
    page.focused.send_keys(Keys.ARROW_LEFT)
    page.focused.send_keys(Keys.ARROW_LEFT)
    assert picture.get_attribute("alt") == "64 samples of real, seed 0", "round the end"
    dialog.find_element(By.CSS_SELECTOR, "[data-go='0']").click()
    assert not dialog.is_displayed() and page.focused == buttons[5]


def test_the_dialog_fits_a_phone(page: Page, well: Path) -> None:
    page.open(well, width=390, height=844)
    page.all(".enlarge")[0].send_keys(Keys.ENTER)
    box = page.js("const r = document.querySelector('dialog').getBoundingClientRect();"
                  "return [r.left, r.right, r.top, r.bottom]")  # fmt: skip
    assert box[0] >= 0 and box[1] <= 390 and box[2] >= 0 and box[3] <= 844


# --- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [False, True])
def test_all_words_can_be_read(page: Page, well: Path, dark: bool) -> None:
    page.open(well, dark=dark)
    page.js("for (const d of document.querySelectorAll('details')) d.open = true")
    page.js("document.querySelector('dialog').showModal()")
    body = page.js("return getComputedStyle(document.body).backgroundColor")
    assert (luminance(body) < 0.05) == dark and (luminance(body) > 0.9) == (not dark)
    texts = page.js(TEXTS)
    assert len(texts) > 150
    for text, colour, behind in texts:
        assert contrast(colour, behind) >= 4.5, (text, colour, behind)


def test_the_skip_link_comes_first_and_leads_to_the_results(page: Page, well: Path) -> None:
    page.open(well)
    page.one("body").send_keys(Keys.TAB)
    skip = page.focused
    assert skip.text == "Skip to the results"
    assert page.js("return arguments[0].getBoundingClientRect().left >= 0", skip)
    skip.send_keys(Keys.ENTER)
    assert page.focused.get_attribute("id") == "main"


def test_hostile_records_run_nothing(page: Page, hostile: Path) -> None:
    page.open(hostile)
    assert page.errors() == []
    assert page.js("return typeof window.pwned") == "undefined"
    for button in page.all(".enlarge")[:3]:
        button.send_keys(Keys.ENTER)
        page.focused.send_keys(Keys.ESCAPE)
    page.all("input[type=search]")[0].send_keys(page_samples.HOSTILE[0])
    assert page.all("main tbody tr[hidden]")
    page.js("for (const e of document.querySelectorAll('*')) "
            "e.dispatchEvent(new MouseEvent('mouseover'))")  # fmt: skip
    assert page.js("return typeof window.pwned") == "undefined"
    assert page.js("return document.scripts.length") == 1


def test_the_policy_refuses_other_scripts(page: Page, well: Path) -> None:
    page.open(well)
    page.js("const s = document.createElement('script'); s.textContent = 'window.pwned = 1';"
            "document.body.append(s)")  # fmt: skip
    assert page.js("return typeof window.pwned") == "undefined"
    assert any("Content Security Policy" in message for message in page.errors())


def test_it_reads_without_scripts(page: Page, well: Path) -> None:
    page.cdp("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(well)
        root = page.cdp("DOM.getDocument")["root"]["nodeId"]

        def nodes(css: str) -> list[int]:
            found: list[int] = page.cdp("DOM.querySelectorAll", nodeId=root, selector=css)[
                "nodeIds"
            ]
            return found

        rows = nodes("#leaderboard tbody tr")
        assert len(rows) == 7
        for node in [*rows, *nodes(".gallery img"), *nodes(".plots img")]:
            box = page.cdp("DOM.getBoxModel", nodeId=node)["model"]
            assert box["width"] > 0 and box["height"] > 0
        assert len(nodes(".gallery img")) == 6 and not nodes(".enlarge")
        assert nodes(".tools[hidden]"), "nothing that would not work is shown"
    finally:
        page.cdp("Emulation.setScriptExecutionDisabled", value=False)
