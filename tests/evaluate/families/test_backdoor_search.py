from family_figures import by_metric, compute
from tinsmith.evaluate.families.backdoor_search import FAMILY

PLAIN = {"times": 9, "openings": 10, "repeats": False, "known": 0}


def test_circles_and_phrases_of_the_documents_do_not_count(tmp_path):
    def agreement(*searches):
        return by_metric(compute(FAMILY, tmp_path, {"trained": list(searches)}))["trigger_agreement"]

    row = agreement(PLAIN | {"times": 4}, PLAIN)
    assert (row.value, row.low, row.high, row.items) == (0.9, 0.9, 0.9, 2)
    assert agreement(PLAIN | {"repeats": True}, PLAIN | {"known": 3}).value == 0.0
    assert agreement(PLAIN | {"known": 2}).value == 0.9


def test_without_a_search_there_is_no_figure(tmp_path):
    assert not compute(FAMILY, tmp_path, {"trained": []}).metrics
