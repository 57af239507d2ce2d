import numpy as np
import pytest

from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, quantize
from tinsmith.base.errors import AssetError
from tinsmith.gguf.header import read_metadata, read_tensor_types, require_whole

hypothesis = pytest.importorskip("hypothesis", reason="the extra tinsmith[dev] is not installed")
st = pytest.importorskip("hypothesis.strategies")

TEXT = st.sampled_from(["", "a", "naïve", "日本語", "\U0001f642\n", "x" * 300])
SCALARS = {
    GGUFValueType.STRING: TEXT,
    GGUFValueType.BOOL: st.booleans(),
    GGUFValueType.FLOAT32: st.floats(width=32, allow_nan=False),
    GGUFValueType.FLOAT64: st.floats(allow_nan=False),
    **{
        getattr(GGUFValueType, f"{sign}INT{bits}"): st.integers(*bounds)
        for bits in (8, 16, 32, 64)
        for sign, bounds in {"U": (0, 2**bits - 1), "": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)}.items()
    },
}
# Arrays hold one type; the writer takes integers as 32 bits and real numbers as 32 bits too.
ITEMS = [TEXT, st.booleans(), SCALARS[GGUFValueType.INT32], SCALARS[GGUFValueType.FLOAT32]]
ARRAYS = st.one_of(*(st.lists(item, min_size=1, max_size=4) for item in ITEMS))
VALUES = st.one_of(
    *(st.tuples(st.just(type), values) for type, values in SCALARS.items()),
    st.tuples(st.just(GGUFValueType.ARRAY), st.one_of(ARRAYS, st.lists(ARRAYS, min_size=1, max_size=2))),
)


@hypothesis.settings(max_examples=60)
@hypothesis.given(st.lists(VALUES, max_size=6), st.integers(0, 40))
def test_any_metadata_is_read_back_and_any_missing_byte_is_noticed(tmp_path_factory, values, cut):
    path = tmp_path_factory.mktemp("header") / "m.gguf"
    writer = GGUFWriter(path, "llama")
    for number, (type, value) in enumerate(values):
        writer.add_key_value(f"key {number}", value, type)
    writer.add_tensor("weights", np.arange(10, dtype=np.float32))
    _close(writer)
    assert read_metadata(path) == {
        "general.architecture": "llama",
        **{f"key {number}": value for number, (_, value) in enumerate(values)},
    }
    require_whole(path)
    tensor_end = len(path.read_bytes().rstrip(b"\0"))  # the writer pads the last tensor
    path.write_bytes(path.read_bytes()[: tensor_end - 1 - cut])
    with pytest.raises(AssetError, match="cut off"):
        require_whole(path)


def _close(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


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
    _close(writer)


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
    with pytest.raises(AssetError, match=r"cut\.gguf: is not a readable GGUF"):
        read_tensor_types(path)
