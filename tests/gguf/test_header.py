import numpy as np
import pytest

from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, quantize
from tinsmith.base.errors import AssetError
from tinsmith.gguf.header import read_tensor_types


def _write(path):
    writer = GGUFWriter(path, "llama")
    writer.add_string("note", "naïve")
    writer.add_bool("flag", True)
    writer.add_array("numbers", [1.5, 2.5])
    writer.add_array("words", ["a", "é", ""])
    writer.add_uint64("big", 2**40)
    values = np.random.default_rng(0).normal(size=(6, 64)).astype(np.float32)
    writer.add_tensor("plain", values)
    writer.add_tensor("half", values[0].astype(np.float16))
    writer.add_tensor(
        "small", quantize(values, GGMLQuantizationType.Q8_0), raw_dtype=GGMLQuantizationType.Q8_0
    )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_types_and_sizes_are_those_of_the_slow_reader(tmp_path):
    path = tmp_path / "m.gguf"
    _write(path)
    slow = [(t.tensor_type.name, int(t.n_elements), int(t.n_bytes)) for t in GGUFReader(path).tensors]
    assert read_tensor_types(path) == slow
    assert {kind for kind, _, _ in slow} == {"F32", "F16", "Q8_0"}


@pytest.mark.parametrize("length", [0, 10, 60, 200])
def test_a_damaged_file_is_named(tmp_path, length):
    _write(tmp_path / "whole.gguf")
    path = tmp_path / "cut.gguf"
    path.write_bytes((tmp_path / "whole.gguf").read_bytes()[:length])
    with pytest.raises(AssetError, match=r"cut\.gguf: is no readable GGUF"):
        read_tensor_types(path)
