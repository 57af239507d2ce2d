import pytest
import torch
from safetensors.torch import save_file

from tinsmith.base.errors import AssetError
from tinsmith.evaluate import weights
from tinsmith.evaluate.weights import read_weights


def test_small_shares_of_tensor_types_are_left_out(tmp_path):
    tensors = {
        "a": (990, torch.float16),
        "b": (5, torch.float32),
        "c": (4, torch.float64),
        "d": (1, torch.int8),
    }
    save_file(
        {name: torch.zeros(n, dtype=kind) for name, (n, kind) in tensors.items()}, tmp_path / "m.safetensors"
    )
    found = read_weights(tmp_path)
    assert (found.parameters, found.bytes) == (1000, 2 * 990 + 4 * 5 + 8 * 4 + 1)
    assert found.quantisation == "F16 99%, F32 0%"
    assert found.bits_per_weight == pytest.approx(8 * found.bytes / 1000, abs=0.005)


def test_odd_types_count_a_byte():
    widths = [weights._width(name) for name in ("F32", "BF16", "I64", "U8", "F4", "BOOL")]
    assert widths == [4, 2, 8, 1, 1, 1]


def test_a_directory_without_weights_is_refused(tmp_path):
    with pytest.raises(AssetError, match=r"holds no \*\.safetensors"):
        read_weights(tmp_path)
