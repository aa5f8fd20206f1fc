from tests.verify import compare


def test_outputs_are_the_same_when_paths_and_hashes_agree() -> None:
    assert compare({"a": "1", "b": "2"}, {"b": "2", "a": "1"}) == []


def test_an_output_differs_when_its_hash_does_or_only_one_run_made_it() -> None:
    assert compare({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "x", "d": "4"}) == ["b", "c", "d"]
