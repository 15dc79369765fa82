"""The page in headless Chromium: no errors, no network, and the slider moves the numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp.view.explain import explain
from tinygrad_bp.view.page import page

pytestmark = pytest.mark.browser
nn = bp.nn
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
BAD = "<img src=x onerror=document.title=1>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    bp.manual_seed(0)
    X, y = (array[:40] for array in bp.data.digits())
    mlp = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    cnn = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    loss, optimizer = nn.CrossEntropyLoss(), bp.optim.SGD(mlp.parameters(), lr=0.1)
    steps, history = [], []
    for epoch in range(4):
        steps.append((f"epoch {epoch}", explain(mlp, loss, X, y)))
        cost = loss(mlp(X), y)
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
        history.append({"epoch": epoch + 1, "loss": cost.item(), "val_loss": cost.item() * 1.1})
    broken = X.copy()
    broken[3, 5] = np.nan
    for name, text in {
        "many": page(steps, history, title=BAD),
        "one": page([("now", explain(mlp, loss, X, y, sample=3))]),
        "images": page([("now", explain(cnn, loss, X.reshape(-1, 1, 8, 8), y))]),
        "nan": page([("now", explain(mlp, loss, broken, y))]),
    }.items():
        (folder / f"{name}.html").write_text(text, "ascii")
    return folder


def opened(browser, file, width=1280, scheme="light"):
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(file.as_uri())
    return browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("name", ["many", "one", "images", "nan"])
def test_it_loads_without_errors_or_network_and_fits(browser, pages, name, width, scheme):
    opened(browser, pages / f"{name}.html", width, scheme)
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    assert asked == {(pages / f"{name}.html").as_uri()}
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    painted = browser.execute_script("return pictures.filter((shown) => shown.place).length")
    assert painted > 5
    dark = browser.execute_script("return getComputedStyle(document.documentElement).backgroundColor")
    assert dark == ("rgb(14, 16, 19)" if scheme == "dark" else "rgb(246, 246, 243)")


def test_the_slider_moves_the_numbers_and_the_pictures(browser, pages):
    from selenium.webdriver.common.keys import Keys

    opened(browser, pages / "many.html")
    slider = browser.find_element("id", "slider")

    def seen():
        canvas = "document.querySelectorAll('.layer canvas')[3].toDataURL()"
        worked = "document.querySelector('.worked').textContent"
        return browser.execute_script(f"return [document.getElementById('now').textContent, {worked}, {canvas}]")

    last = seen()
    assert last[0].startswith("epoch 3")
    slider.send_keys(Keys.HOME)
    first = seen()
    assert first[0].startswith("epoch 0")
    assert all(a != b for a, b in zip(first, last, strict=True))
    slider.send_keys(Keys.ARROW_RIGHT)
    assert seen()[0].startswith("epoch 1")
    browser.find_element("tag name", "body").send_keys(Keys.ARROW_LEFT)
    assert seen() == first
    assert browser.get_log("browser") == []


def test_play_goes_to_the_end_and_stops(browser, pages):
    from selenium.webdriver.support.ui import WebDriverWait

    opened(browser, pages / "many.html")
    button = browser.find_element("id", "play")
    button.click()
    assert button.get_attribute("aria-label") == "Pause"
    assert browser.find_element("id", "now").text.startswith("epoch 0")
    WebDriverWait(browser, 20).until(lambda _: button.get_attribute("aria-label") == "Play")
    assert browser.find_element("id", "now").text.startswith("epoch 3")


def test_one_step_has_no_slider_and_a_title_that_is_markup_is_text(browser, pages):
    opened(browser, pages / "one.html")
    assert not browser.find_element("id", "player").is_displayed()
    opened(browser, pages / "many.html")
    assert browser.find_element("tag name", "h1").text == BAD and browser.title == BAD


def test_the_number_under_the_pointer_is_that_of_the_array(browser, pages):
    from selenium.webdriver import ActionChains

    opened(browser, pages / "one.html")
    canvas = browser.find_elements("css selector", "#data canvas")[2]
    size = canvas.size
    corner = -size["width"] // 2 + 4, -size["height"] // 2 + 4
    ActionChains(browser).move_to_element(canvas).move_by_offset(*corner).perform()
    wanted = browser.execute_script("return number(cells(steps[0].output)[0], 6)")
    assert browser.find_element("id", "tip").text == f"output[0, 0] = {wanted}"
