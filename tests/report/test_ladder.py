"""Which file to take is one sentence, and pictures show where every model stands."""

import itertools
import re
import xml.etree.ElementTree as ElementTree

import pytest

from tinsmith.report.ladder import describe_ladder, places
from tinsmith.report.plots import LABEL_PIXELS, Mark, _log_ticks, scatter


def _row(format: str, size: int, loss: float) -> dict[str, object]:
    return {"format": format, "bytes": size, "loss": loss, "low": loss - 0.005, "high": loss + 0.005}


@pytest.mark.parametrize(
    ("recommended", "said"),
    [
        ("q4_k_m", "Take the file q4_k_m (105 MB of weights): it loses 0.004"),
        (None, "No file that was scored surely loses less"),
    ],
)
def test_the_sentence_names_file_loss_and_what_is_allowed(recommended, said):
    rows = [_row("q4_k_m", 105_000_000, 0.004), _row("q8_0", 150_000_000, 0.0)]
    text = describe_ladder({"rows": rows, "recommended": recommended, "max_loss": 0.02})
    assert said in text
    assert "0.020" in text
    assert recommended or "q8_0 comes nearest" in text


def test_without_files_nothing_is_said():
    assert describe_ladder({"rows": [], "recommended": None}) == ""


def test_places_are_models_whose_quality_and_size_are_known():
    bits = {"metric": "bits_per_byte", "value": 0.7, "low": 0.6, "high": 0.8}
    evidence = {
        "subjects": [{"subject": "trained", "bytes": 9}, {"subject": "ngram", "bytes": None}],
        "metrics": [
            bits | {"subject": "trained"},
            bits | {"subject": "ngram"},
            {"metric": "joules_per_answer", "subject": "ngram", "value": 3.0},
        ],
    }
    assert [(row["subject"], row["x"]) for row in places(evidence, "bytes")] == [("trained", 9)]
    assert [(row["subject"], row["x"]) for row in places(evidence, "joules_per_answer")] == [("ngram", 3.0)]


def test_a_scatter_has_a_dot_and_a_label_for_each_and_says_all_in_words():
    marks = [(10.0, Mark("one <b>", 0.7, 0.6, 0.8, "", "ours")), (1000.0, Mark("two", 0.9, None, None, ""))]
    picture = scatter(marks, "said", lambda x: f"{x:g}")
    ElementTree.fromstring(picture)
    assert picture.count("<circle") == 2
    assert picture.count('class="span') == 1
    assert "one &lt;b&gt;" in picture
    assert 'aria-label="said"' in picture
    assert [float(x) for x in re.findall(r'text-anchor="middle">([^<]+)<', picture)] == [10, 100, 1000]


def test_labels_of_dots_that_lie_on_each_other_do_not():
    marks = [(100.0, Mark(f"model {n} with a name that is long", 0.7, None, None, "")) for n in range(20)]
    picture = scatter([*marks, (500.0, Mark("far", 0.2, 0.1, 0.3, ""))], "said", str)
    height = float(re.search(r'height="([0-9.]+)">', picture)[1])
    ys = [float(y) for y in re.findall(r'class="label[^>]*y="([0-9.]+)"', picture)]
    assert len(ys) == 21
    assert all(b - a >= LABEL_PIXELS - 0.1 for a, b in itertools.pairwise(ys))
    assert 0 < ys[0] < ys[-1] < height
    assert "model 3 with a name t…" in picture


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (80e6, 310e6, [1e8, 2e8]),
        (5.1, 19.0, [7, 10, 15]),
        (1e6, 1e9, [1e6, 1e7, 1e8, 1e9]),
        (3.2, 3.4, [3.2, 3.4]),
    ],
)
def test_ticks_of_a_logarithmic_axis_are_round_and_few(low, high, expected):
    assert _log_ticks(low, high) == pytest.approx(expected)
