"""The page holds every cell's numbers, stands alone, shows names as they are, and sorts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from boards import board, cell, large, policy, scenario

from llmqgym.leaderboard.report.board import Board, Figure
from llmqgym.leaderboard.report.measures import digits, measure_of
from llmqgym.leaderboard.report.page import page, write_page
from llmqgym.leaderboard.report.words import recommend

EVIL = "</script><script>alert(1)</script>\"'&<b>:mode=x"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NODE = shutil.which("node")


class Tables(HTMLParser):
    """The boards of a page: {(scenario, kind): {policy: [text of each cell]}}; raises where tags do not nest."""

    VOID = ("meta", "br", "input", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.boards: dict[tuple[str, str], dict[str, list[str]]] = {}
        self.open: list[str] = []
        self.scenario = self.kind = self.policy = ""
        self.sections: dict[str, str] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "article":
            self.scenario = given["data-scenario"]
        if tag == "table":
            self.kind = given.get("data-board", "")
        if tag == "tr":
            self.policy = given.get("data-policy", "")
        if tag == "tbody" and self.kind:
            self.section = given["class"]
        if self.policy and self.kind and tag in ("td", "th"):
            self.boards.setdefault((self.scenario, self.kind), {}).setdefault(self.policy, []).append("")
            self.sections[self.policy] = self.section

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "tr":
            self.policy = ""

    def handle_data(self, data):
        if self.policy and self.kind:
            self.boards[self.scenario, self.kind][self.policy][-1] += data


@pytest.fixture(scope="module")
def document():
    made = large()
    return made | {"recommendation": recommend(made)}


@pytest.fixture(scope="module")
def text(document):
    return page(document)


def test_every_cell_stands_on_the_page(document, text):
    read, board = Tables(text), Board(document)
    num_numbers = 0
    for of in document["scenarios"]:
        for each in board.cells(of["name"]):
            for key, value in (each.document.get("metrics") or {}).items():
                measure = measure_of(key)
                row = read.boards[of["name"], measure.board][each.spec]
                low, high = (digits(value[end] * measure.scale) for end in ("low", "high"))
                assert f"{digits(value['mean'] * measure.scale)} {low} to {high}" in row, (of["name"], each.spec, key)
                num_numbers += 1
            row = " ".join(read.boards[of["name"], "mean"][each.spec])
            if each.skipped:
                assert each.skipped in row
            else:
                assert f"{each.document['num_unfinished']:,}, {each.document['num_rejected']:,}" in row
            assert ("censored" in row) is each.censored
    assert num_numbers == 19 * (20 * 8 - 1)


def test_oracles_stand_apart(document, text):
    sections = Tables(text).sections
    oracles = {each["spec"] for each in document["policies"] if each["oracle"]}
    assert {spec for spec, section in sections.items() if section == "oracles"} == oracles


def test_ranks_with_ties(document, text):
    read = Tables(text)
    for each in document["cells"]:
        for kind, key in (("mean", "mean_e2e_s"), ("tail", "p99_e2e_s")):
            if each.get("rank", {}).get(key):
                first, last = each["rank"][key]
                shown = read.boards[each["scenario"], kind][each["policy"]][0]
                assert shown == (str(first) if first == last else f"{first}\N{EN DASH}{last}")


def test_nothing_is_fetched_and_the_page_is_small(text):
    assert len(text.encode()) < 1_500_000
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", text)
    assert set(re.findall(r"https?://[^\s\"']+", text)) <= {"http://www.w3.org/2000/svg"}


def test_the_same_board_gives_the_same_page(document, text, tmp_path):
    write_page(tmp_path / "leaderboard.html", json.loads(json.dumps(document)))
    assert (tmp_path / "leaderboard.html").read_text(encoding="utf-8") == text


def hostile():
    names = [EVIL, "vllm"]
    specs = [policy(name) | {"summary": EVIL, "family": EVIL, "needs": [EVIL]} for name in names]
    cells = [cell(EVIL, name, 5.0 + place, 20.0) for place, name in enumerate(names)]
    made = board(specs, [scenario(EVIL, summary=EVIL, predictor=EVIL, profile=EVIL)], cells)
    made |= {"suite": EVIL, "command": EVIL, "commit": EVIL}
    return made | {"recommendation": recommend(made)}


def test_names_are_text_whatever_they_hold():
    made = page(hostile())
    assert "<script>alert" not in made
    assert "<b>:mode" not in made
    assert made.count("</script>") == 2
    assert Tables(made).boards[EVIL, "mean"][EVIL][1] == 2 * EVIL  # name and needs
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', made, re.S)
    assert list(json.loads(data[1])["scenarios"]) == [EVIL]
    assert unescape(re.search(r"<title>(.*?)</title>", made)[1]) == f"llmqgym leaderboard: {EVIL}"


def test_without_intervals_ranks_and_bounds():
    figures = {"mean_e2e_s": {"mean": 3.0, "low": None, "high": None}, "mean_ttft_s": None}
    only = cell("chat", "vllm", 3.0, 9.0) | {"metrics": figures, "quantiles": {}}
    made = board([policy("vllm")], [], [only]) | {"scenarios": [scenario("chat", bound=None, rho=None)]}
    row = Tables(page(made)).boards["chat", "mean"]["vllm"]
    assert row[0] == "\N{EN DASH}"
    assert row[2] == "3.00"


def test_figures():
    assert Figure(1.0, -1.0, 2.0).is_zero
    assert Figure(1.0).is_zero
    assert not Figure(1.0, 0.5, 2.0).is_zero


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_sorting_by_numbers_by_words_and_with_gaps():
    code = (files("llmqgym.leaderboard.report") / "assets" / "tables.js").read_text()
    code += """
    const rows = ["10", "9", undefined, "-1", "2"].map((v, place) => ({ place, children: [{ dataset: { v } }] }));
    const words = ["vllm", "srpt", "10"].map((v, place) => ({ place, children: [{ dataset: { v } }] }));
    const places = (sorted) => sorted.map((row) => row.place);
    const found = [sortRows(rows, 0, false), sortRows(rows, 0, true), sortRows(words, 0, false)];
    console.log(JSON.stringify(found.map(places)));
    """
    done = subprocess.run([NODE, "-e", code], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == [[3, 4, 1, 0, 2], [0, 1, 4, 3, 2], [2, 1, 0]]


AFTER = """<script>
const each = (what, act) => document.querySelectorAll(what).forEach(act);
const out = {charts: document.querySelectorAll('svg.chart').length};
each('details', (details) => { details.open = true; details.dispatchEvent(new Event('toggle')); });
each('thead button, .picker button, .controls button', (button) => button.click());
out.errors = errors;
out.images = document.images.length;
const pre = document.createElement('pre');
pre.textContent = JSON.stringify(out);
document.body.replaceChildren(pre);
</script>"""
BEFORE = """<script>
const errors = [];
onerror = (message) => errors.push(message);
alert = () => errors.push('alert');
</script>"""
PROBE = """<script>
const out = {};
const table = document.querySelector('article:not([hidden]) table[data-board=mean]');
const specs = (body) => [...table.tBodies[body].rows].map((row) => row.dataset.policy).filter(Boolean);
const press = (title) => [...table.tHead.querySelectorAll('button')].find((each) => each.textContent === title).click();
out.first = specs(0);
press('mean TTFT (s)'); out.rising = specs(0); out.oracles = specs(1);
const shown = table.querySelector('td.main');
shown.dispatchEvent(new PointerEvent('pointermove', {bubbles: true, clientX: 9, clientY: 9}));
out.tip = [document.getElementById('tip').hidden, document.getElementById('tip').textContent];
out.interval = shown.querySelector('small').textContent;
press('mean TTFT (s)'); out.falling = specs(0);
out.sorted = [...table.tHead.rows[0].cells].map((each) => each.getAttribute('aria-sort'));
out.shown = [...document.querySelectorAll('article')].filter((each) => !each.hidden).length;
out.charts = document.querySelectorAll('article:not([hidden]) svg.chart').length;
out.price = document.querySelectorAll('#price svg.chart').length;
document.querySelector('[data-show="code"]').click();
out.second = document.querySelector('article:not([hidden])').dataset.scenario;
const details = document.querySelector('article:not([hidden]) details'); details.open = true;
details.dispatchEvent(new Event('toggle'));
out.behind = details.querySelectorAll('tbody tr').length;
const pre = document.createElement('pre');
pre.textContent = JSON.stringify(out);
document.body.replaceChildren(pre);
</script>"""


def in_browser(text, folder):
    """What a page leaves behind in its <pre>."""
    (folder / "page.html").write_text(text, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile", "--dump-dom"]
    command = [CHROMIUM, *options, f"file://{folder}/page.html"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return json.loads(unescape(re.search(r"<pre>(.*?)</pre>", done.stdout, re.S)[1]))


def all_alike():
    """Two policies that come to the same, distributions of zeros, no intervals."""
    names = ("noisy-0", "noisy-1")
    zeros = {"e2e_s": [[0.0, 0.0], [1.0, 0.0]], "ttft_s": None}
    cells = [cell(name, spec, 5.0, 20.0, half=0.0, quantiles=zeros) for name in names for spec in ("vllm", "b")]
    return board([policy("vllm"), policy("b")], [scenario(name) for name in names], cells)


def all_off():
    """Censored, skipped: nothing to draw."""
    cells = [cell("chat", "vllm", 5.0, 20.0, censored=True, stability="growing", quantiles={})]
    cells.append({"scenario": "chat", "policy": "b", "num_runs": 0, "skipped": EVIL})
    return board([policy("vllm"), policy("b")], [scenario("chat", bound=None, rho=None)], cells)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize(("make", "num_charts"), [(hostile, 4), (all_alike, 4), (all_off, 0)])
def test_no_name_runs_and_no_chart_fails(make, num_charts, tmp_path):
    text = page(make()).replace("<title>", BEFORE + "<title>", 1).replace("</body>", AFTER + "</body>")
    found = in_browser(text, tmp_path)
    assert found == {"charts": num_charts, "errors": [], "images": 0}


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_in_a_browser(document, text, tmp_path):
    # The page's own policy forbids everything from outside; scripts in the page are allowed.
    found = in_browser(text.replace("</body>", PROBE + "</body>"), tmp_path)
    cells = {each["policy"]: each for each in document["cells"] if each["scenario"] == "chat"}
    oracles = {each["spec"] for each in document["policies"] if each["oracle"]}
    means = {spec: each["metrics"]["mean_ttft_s"]["mean"] for spec, each in cells.items() if not each["skipped"]}
    rising = sorted((spec for spec in means if spec not in oracles), key=means.get)
    skipped = [spec for spec in cells if spec not in means]
    assert found["rising"] == rising + skipped
    assert found["falling"] == rising[::-1] + skipped
    assert found["oracles"] == sorted(oracles, key=means.get)
    assert sorted(found["first"]) == sorted(found["rising"])
    assert found["sorted"].count("descending") == 1
    assert (found["shown"], found["charts"], found["price"], found["second"]) == (1, 4, 2, "code")
    assert found["behind"] == 6
    assert found["tip"] == [False, f"95 %: {found['interval']}"]
