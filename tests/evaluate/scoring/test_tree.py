import pytest

from tinsmith.evaluate.scoring.tree import Tree


def test_a_tree_stores_common_beginnings_once():
    tree = Tree()
    assert tree.add([5, 6, 7]) == [0, 1, 2]
    assert tree.add([5, 6, 8, 9]) == [0, 1, 3, 4]
    assert len(tree) == 5
    assert not tree.is_chain
    assert tree.chains() == [[0, 1, 2], [0, 1, 3, 4]]
    assert tree.ancestors()[4].tolist() == [True, True, False, True, True]


def test_leaves_are_asked_for_and_never_read():
    tree = Tree()
    tree.add([5, 6, 7])
    tree.add([5, 6, 8, 9])
    trunk, places = tree.trunk()
    assert (trunk.tokens, trunk.parents, trunk.depths) == ([5, 6, 8], [-1, 0, 1], [0, 1, 2])
    assert places == {0: 0, 1: 1, 3: 2}


def test_the_first_token_has_no_context_to_be_asked_in():
    tree = Tree()
    with pytest.raises(AssertionError):
        tree.ask(tree.add([5, 6]))
