"""The parity of a job's files is computed again from its items, how its labels agree as well."""

from collections import Counter

import pytest

from tinsmith.base.errors import BundleError
from tinsmith.base.files import read_json, write_json, write_jsonl
from tinsmith.gguf.header import read_tensor_types
from tinsmith.gguf.writer import write_gguf
from tinsmith.parity.recompute import check_figures, least_share
from tinsmith.recipe import PackageConfig
from tiny_model import write_trained

CONFIG = PackageConfig(formats=("f16",))


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    root = tmp_path_factory.mktemp("job")
    write_trained(root / "model")
    (root / "gguf").mkdir()
    gguf = root / "gguf" / "model-f16.gguf"
    write_gguf(root / "model", gguf, "f16")
    sizes = {"f16": gguf.stat().st_size}
    sizes["saved"] = sum(file.stat().st_size for file in (root / "model").glob("*.safetensors"))
    item = {"prompt": 0, "kind": "job", "positions": 4, "kl": 1e-5, "top1": 1.0}
    rows = [
        item | {"format": name, "label_kl": 2e-6, "same_label": number > 0}
        for name in sizes
        for number in range(20)
    ]
    figures = {"mean_kl": 1e-5, "top1": 1.0, "positions": 80, "prompts": 20, "token_ids_equal": True}
    figures |= {"stop_equal": True, "label_kl": 2e-6, "same_label": 0.95}
    formats = {
        name: figures
        | {
            "bytes": size,
            "bound_kl": CONFIG.max_kl[name],
            "bound_top1": least_share(CONFIG.min_top1[name], 80),
        }
        | {"bound_same_label": least_share(CONFIG.min_top1[name], 20)}
        for name, size in sizes.items()
    }
    tensors = {"f16": dict(Counter(row[0] for row in read_tensor_types(gguf)))}
    write_json(root / "parity.json", {"formats": formats, "tensors": tensors})
    write_jsonl(root / "parity.jsonl", rows)
    return root


def check(root, facts):
    return check_figures(root, facts, root / "parity.jsonl", CONFIG, of_job=True)


def test_all_figures_of_a_job_are_computed_again(job):
    # Twelve figures of each file, and how many tensors are of which type.
    assert check(job, job / "parity.json") == 2 * 12 + 2


@pytest.mark.parametrize(
    ("field", "value"), [("label_kl", 1e-3), ("same_label", 1.0), ("bound_same_label", 0.1)]
)
def test_a_forged_agreement_of_labels_is_found(job, tmp_path, field, value):
    facts = read_json(job / "parity.json")
    facts["formats"]["f16"][field] = value
    write_json(tmp_path / "parity.json", facts)
    with pytest.raises(BundleError, match=f"formats, f16: {field} is {value}, the bundle gives"):
        check(job, tmp_path / "parity.json")


def test_a_job_without_its_parity_is_named(job):
    with pytest.raises(BundleError, match=r"none\.json: is missing, so the exports cannot be compared"):
        check(job, job / "none.json")
