"""Which file to take is one sentence, and pictures show where every model stands."""

import pytest

from tinsmith.report.ladder import describe_ladder, places
from tinsmith.report.plots import Mark, scatter


def _row(format: str, size: int, loss: float) -> dict[str, object]:
    return {"format": format, "bytes": size, "loss": loss, "low": loss - 0.005, "high": loss + 0.005}


@pytest.mark.parametrize(
    ("recommended", "said"),
    [
        ("q4_k_m", "Take the file q4_k_m (105 MB): it loses 0.004"),
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


def test_a_scatter_has_a_dot_and_a_letter_for_each_and_says_all_in_words():
    marks = [(10.0, Mark("one <b>", 0.7, 0.6, 0.8, "", "ours")), (1000.0, Mark("two", 0.9, None, None, ""))]
    picture = scatter(marks, "said", lambda x: f"{x:g}")
    assert picture.count("<circle") == 2
    assert picture.count('class="span') == 1
    assert "one &lt;b&gt;" in picture
    assert 'aria-label="said"' in picture
