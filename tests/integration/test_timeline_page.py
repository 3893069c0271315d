"""The timeline's page in a browser, used as a person would: by clicking, typing and pressing keys."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from fractions import Fraction

import numpy as np
import pytest
from label_files import UNKNOWN, label, labels, write_labels, write_video
from PIL import Image
from scene_states import gradual

from tools.timeline.recording import read_recording
from tools.timeline.writing import write_timeline_files

selenium = pytest.importorskip("selenium", reason="the page is tested through selenium: pip install selenium")
from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.wait import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="no Chromium here: apt-get install chromium chromium-driver"
)

SCENES = ["kitchen"] * 50 + [UNKNOWN] * 20 + ["street"] * 30
SPANS = [("Kitchen", 0.0, 2.0), ("Unknown", 2.0, 2.8), ("Street", 2.8, 4.0)]
NAME = "a & b's {{data}} clip"


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    arguments = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,1100"]
    arguments += ["--no-sandbox"] * (os.geteuid() == 0)  # Chromium's sandbox is not for root
    for argument in arguments:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER)) as driver:
        yield driver


def make_page(folder, first: int = 0, *, with_video: bool = True):
    """A page of four seconds, dark at first and bright at last, whose first frame has the pts `first`."""
    bodies = [label(scene, first + i, cut=i == 70) for i, scene in enumerate(SCENES)]
    bodies[60] = label(UNKNOWN, first + 60, transition=gradual("dissolve", first + 30, first + 50))
    written = write_labels(folder / f"{NAME}.labels.jsonl", bodies)
    video = write_video(folder / f"{NAME}.mp4", range(first, first + 100)) if with_video else None
    (page,) = write_timeline_files(written, video, folder / "pages", NAME, ["html"])
    return page


@pytest.fixture(params=[0, 100], ids=["starts at 0 s", "starts at 4 s"])
def page(request, tmp_path, browser):
    """An open page; gives the time in the video at which its timeline starts."""
    open_page(browser, make_page(tmp_path, request.param))
    WebDriverWait(browser, 20).until(lambda b: video(b, "readyState >= 2"))
    yield request.param / 25
    assert browser.get_log("browser") == []


def open_page(browser, path):
    browser.get_log("browser")
    browser.get(path.as_uri())


def video(browser, what: str):
    return browser.execute_script(f"return document.querySelector('video').{what}")


def settled(browser, wanted) -> float:
    """The video's time once it has got to where `wanted` says yes."""

    def there(_):
        time = video(browser, "currentTime")
        return not video(browser, "seeking") and wanted(time) and (time,)

    return WebDriverWait(browser, 20).until(there)[0]


def between(start: float, end: float):
    return lambda time: start <= time < end


def parts(browser, selector: str):
    return browser.find_elements(By.CSS_SELECTOR, selector)


def brightness(browser) -> float:
    """Mean grey in the middle of the video, as it is seen on the screen."""
    box = browser.execute_script(
        "const r = document.querySelector('video').getBoundingClientRect(); return [r.left, r.top, r.width, r.height]"
    )
    screen = np.asarray(Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("L"))
    x, y = int(box[0] + box[2] / 2), int(box[1] + box[3] / 2)
    return float(screen[y - 20 : y + 20, x - 20 : x + 20].mean())


def test_a_click_on_the_band_goes_to_that_span(page, browser):
    for number in (2, 0, 1):
        name, start, end = SPANS[number]
        span = parts(browser, "#band .span")[number]
        ActionChains(browser).move_to_element(span).click().perform()
        settled(browser, between(page + start, page + end))
        assert browser.find_element(By.ID, "now-scene").text == name
        (current,) = parts(browser, "#spans li.current button")
        assert current.get_attribute("data-span") == str(number)
        # The frame that is shown is one of the span: frame i has the grey 10 + 2 i.
        middle = 10 + 2 * 25 * (start + end) / 2
        WebDriverWait(browser, 10).until(lambda b, grey=middle: abs(brightness(b) - grey) < 25)


def test_a_click_in_the_list_goes_to_the_start_of_the_span(page, browser):
    parts(browser, "#spans button")[2].click()
    assert settled(browser, between(page + 2.8, page + 4)) == pytest.approx(page + 2.8, abs=0.001)


def test_a_click_on_the_curves_goes_to_that_time(page, browser):
    plot = browser.find_element(By.ID, "plot")
    ActionChains(browser).move_to_element_with_offset(plot, plot.size["width"] // 4, 0).click().perform()
    assert settled(browser, lambda time: time > page + 2.5) == pytest.approx(page + 3, abs=0.02)


def test_keys_go_from_span_to_span(page, browser):
    band = browser.find_element(By.ID, "band")
    band.send_keys(Keys.ARROW_RIGHT)
    settled(browser, between(page + 2.0, page + 2.8))
    assert band.get_attribute("aria-valuetext").startswith("Unknown, 0:0")
    band.send_keys(Keys.END)
    settled(browser, between(page + 2.8, page + 4))
    band.send_keys(Keys.HOME)
    settled(browser, between(page, page + 2))
    assert band.get_attribute("role") == "slider"


def seen(browser, selector: str) -> list[str]:
    return [part.get_attribute("data-span") for part in parts(browser, selector) if part.is_displayed()]


def test_a_search_highlights_the_spans_of_a_scene(page, browser):
    search = browser.find_element(By.ID, "search")
    search.send_keys("STREE")
    assert seen(browser, "#spans button") == ["2"]
    assert seen(browser, "#band .span.match") == ["2"]
    assert seen(browser, "#band .span.other") == ["0", "1"]
    assert browser.find_element(By.ID, "found").text == "1 of 3 spans · 0:01.2"
    pressed = parts(browser, "#legend button[aria-pressed='true']")
    assert [button.get_attribute("data-scene") for button in pressed] == ["street"]
    search.send_keys(Keys.ENTER)
    settled(browser, between(page + 2.8, page + 4))
    search.send_keys(Keys.ESCAPE)
    assert seen(browser, "#spans button") == ["0", "1", "2"]
    assert seen(browser, "#band .span.other") == []
    search.send_keys("no such scene")
    assert seen(browser, "#spans button") == []
    assert browser.find_element(By.ID, "found").text == "0 of 3 spans · 0:00.0"


def test_a_chip_of_the_legend_searches_its_scene(page, browser):
    chip = browser.find_element(By.CSS_SELECTOR, "#legend button[data-scene='']")
    chip.click()
    assert seen(browser, "#spans button") == ["1"]
    chip.click()
    assert seen(browser, "#spans button") == ["0", "1", "2"]


def test_the_pointer_is_told_scene_time_and_confidence(page, browser):
    ActionChains(browser).move_to_element(parts(browser, "#band .span")[0]).perform()
    tip = browser.find_element(By.ID, "tip")
    assert tip.is_displayed()
    start = f"0:{int(page):02d}.00"
    assert re.match(rf"Kitchen\n70%\n{start} to 0:{int(page) + 2:02d}\.00, 2\.00 s\nat 0:", tip.text), tip.text
    ActionChains(browser).move_to_element(browser.find_element(By.TAG_NAME, "h1")).perform()
    assert not tip.is_displayed()


def test_the_page_says_what_it_is_of(page, browser):
    assert browser.find_element(By.TAG_NAME, "h1").text == NAME
    assert browser.title == NAME
    assert browser.find_element(By.ID, "facts").text == "0:04.0 · 3 spans · 2 cuts · 100 frames · model scene18"
    assert [mark.get_attribute("style") for mark in parts(browser, "#cuts i")] == ["left: 50%;", "left: 70%;"]
    assert [bar.get_attribute("style") for bar in parts(browser, "#cuts b")] == ["left: 30%; width: 20%;"]


def test_playing_moves_the_playhead(page, browser):
    before = browser.find_element(By.ID, "playhead").location["x"]
    browser.execute_script(
        "document.querySelector('video').muted = true; return document.querySelector('video').play()"
    )
    WebDriverWait(browser, 20).until(lambda b: b.find_element(By.ID, "playhead").location["x"] > before + 50)


def test_a_page_without_a_video_still_works(tmp_path, browser):
    open_page(browser, make_page(tmp_path, with_video=False))
    assert "without its video" in browser.find_element(By.ID, "stage").text
    parts(browser, "#band .span")[2].click()
    assert browser.find_element(By.ID, "now-scene").text == "Street"
    assert browser.get_log("browser") == []


def test_a_video_that_is_gone_is_told(tmp_path, browser):
    path = make_page(tmp_path)
    (tmp_path / f"{NAME}.mp4").unlink()
    open_page(browser, path)
    WebDriverWait(browser, 20).until(lambda b: "cannot be played" in b.find_element(By.ID, "now").text)
    browser.get_log("browser")  # Chromium says itself that there is no file


def test_no_name_of_a_scene_can_become_code(tmp_path, browser):
    evil = "</script><script>document.title='evil'</script><!--"
    bodies = labels(["kitchen"] * 5)
    for body in bodies:
        body["stable"]["scene"] = body["smoothed"][0][0] = evil
    written = write_labels(tmp_path / "evil.labels.jsonl", bodies)
    (path,) = write_timeline_files(written, None, tmp_path, "evil", ["html"])
    open_page(browser, path)
    assert browser.title == "evil" == browser.find_element(By.TAG_NAME, "h1").text
    assert "document.title" in browser.find_element(By.ID, "now-scene").text
    assert len(parts(browser, "script")) == 2
    assert browser.get_log("browser") == []


def test_nothing_comes_from_elsewhere(tmp_path):
    text = make_page(tmp_path).read_text()
    assert "://" not in text
    assert re.findall(r'(?:src|href)="([^"]*)"', text) == ["data:,", "../a%20%26%20b%27s%20%7B%7Bdata%7D%7D%20clip.mp4"]
    assert re.search(r"default-src 'none'; script-src 'sha256-[A-Za-z0-9+/=]+'; style-src 'sha256-", text)
    data = json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)[1])
    assert data["curves"]["points"] == 100


def test_a_long_recording_has_as_many_points_as_a_screen(tmp_path):
    bodies = labels(["kitchen", "street"] * 1500, time_base=Fraction(1, 2))
    written = write_labels(tmp_path / "long.labels.jsonl", bodies)
    assert read_recording(written).curves.values.shape[1] == 2000
