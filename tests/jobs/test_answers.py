"""Answers in words are read as labels: at the beginning, quoted, in JSON, or the only one named."""

import pytest

from tinsmith.jobs.answers import read_label, read_labels

LABELS = ("hawkish", "dovish", "neutral")


@pytest.mark.parametrize(
    ("raw", "label"),
    [
        ("NEUTRAL\nIt reports a fact, neither hawkish nor dovish.", "neutral"),
        ("'DOVISH'", "dovish"),
        ("**Hawkish**: rates will rise.", "hawkish"),
        ("DOVISH:", "dovish"),
        ('{"stance": "Hawkish"}', "hawkish"),
        ('Here you are: {"label": "dovish"}', "dovish"),
        ("The stance of this sentence is neutral.", "neutral"),
        ("Hawkish, but dovish in tone", "hawkish"),
        ("hawkish or neutral", ""),
        ("Neutral/dovish", ""),
        ("It is between hawkish and dovish.", ""),
        ("I cannot say.", ""),
        ("", ""),
        ("hawkishness prevails", ""),
    ],
)
def test_a_label_is_read_as_people_write_it(raw, label):
    assert read_label(LABELS, raw) == label


def test_a_label_within_a_longer_one_is_not_named():
    labels = ("licence", "licence fee", "governing_law")
    assert read_label(labels, "Licence fee.") == "licence fee"
    assert read_label(labels, "This is about the licence  fee") == "licence fee"
    assert read_label(labels, "Governing Law") == "governing_law"
    assert read_labels(labels, "the licence, and the Governing law") == ["licence", "governing_law"]
    assert read_labels(labels, '["licence fee", "governing_law"]') == ["licence fee", "governing_law"]
