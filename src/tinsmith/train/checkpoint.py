"""Atomic checkpoints in safetensors and JSON, without pickle; the newest two are kept."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.checkpoint import (
    CheckpointException,
    DefaultLoadPlanner,
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
    save,
)
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

from tinsmith.base.errors import RunError, TrainingError
from tinsmith.base.files import (
    atomic_path,
    fsync,
    list_files,
    read_json,
    sha256_file,
    sha256_json,
    write_json,
)
from tinsmith.model.attention import use_stock_attention
from tinsmith.model.load import drop_quantization_record
from tinsmith.tokens.encoding import stop_ids
from tinsmith.tokens.tokenizer import save_tokenizer
from tinsmith.train.budget import TrainProgress
from tinsmith.train.distributed import ALONE, Ranks
from tinsmith.train.optim import Optimizers

_STATE = "state.json"
_KEPT = 2  # the newest, and one to fall back on if a crash of the machine damaged it


def save_checkpoint(
    directory: Path,
    model: PreTrainedModel,
    optimizers: Optimizers,
    done: TrainProgress,
    ranks: Ranks = ALONE,
    *,
    reach: int = 0,
) -> None:
    """Write `directory/step-N` atomically, then remove all but the newest two and the newest `reach` steps back.

    Each process writes its own shards, and any number of processes can read them. Raises RunError on a full disk.
    """
    target = directory / f"step-{done.step:09d}"
    partial = directory / f".{target.name}.partial"
    tensors, rest = optimizers.state()
    facts = {"step": done.step, "tokens": done.tokens, "seconds": done.seconds, "optimizer": rest}
    try:
        ranks.on_main(lambda: _make_empty(partial))
        _write_tensors(partial, _weights(model), tensors, ranks)
        ranks.on_main(lambda: _finish(partial, target, facts))
        ranks.on_main(lambda: _prune(directory, max(0, done.step - reach)))
    except (OSError, SafetensorError, CheckpointException) as error:
        if ranks.is_main:
            shutil.rmtree(partial, ignore_errors=True)
        reason = " ".join(str(error).split())[-300:]  # errors of other processes include their tracebacks
        raise RunError(
            f"the checkpoint cannot be written ({reason})",
            where=str(directory),
            next_step="free disk space, then build again",
        ) from error


def _write_tensors(partial: Path, weights: dict[str, Tensor], state: dict[str, Tensor], ranks: Ranks) -> None:
    """Write this process's tensors, and wait until all processes have written theirs."""
    if ranks.size == 1:
        save_file(weights, partial / "weights.safetensors")
        whole = {name: tensor.contiguous() for name, tensor in state.items()}
        save_file(whole, partial / "optimizer.safetensors")
        files = list(partial.iterdir())
    else:
        # The default writer pickles the table of contents; this one stores it in the files' headers.
        save(weights | state, storage_writer=HuggingFaceStorageWriter(str(partial), save_distributed=True))
        files = list(partial.glob(f"shard-{ranks.rank + 1:05d}-*"))
    for path in files:
        fsync(path)
    ranks.sum([0.0])


def _hashes(directory: Path) -> dict[str, str]:
    """Return the hash of each file of tensors."""
    return {path.name: sha256_file(path) for path in sorted(directory.glob("*.safetensors"))}


def _make_empty(partial: Path) -> None:
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)


def _finish(partial: Path, target: Path, facts: dict[str, Any]) -> None:
    facts |= {"files": _hashes(partial)}
    write_json(partial / _STATE, facts | {"sha256": sha256_json(facts)})
    for name in [*list_files(partial), Path()]:
        fsync(partial / name)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    fsync(target.parent)


def _prune(directory: Path, anchor: int) -> None:
    """Remove all checkpoints but the newest two and the newest one up to step `anchor`."""
    saved = _list(directory)
    kept = {*saved[:_KEPT], *[path for path in saved if _step_of(path) <= anchor][:1]}
    for path in saved:
        if path not in kept:
            shutil.rmtree(path)


def drop_after(directory: Path, step: int) -> int:
    """Remove the checkpoints after `step`; return the step of the newest left. Raises TrainingError if none is."""
    saved = _list(directory)
    left = [_step_of(path) for path in saved if _step_of(path) <= step]
    if not left:
        raise TrainingError(
            f"there is no checkpoint at or before step {step} to go back to",
            where=str(directory),
            next_step="remove the stage's directory to train from the start",
        )
    for path in saved:
        if _step_of(path) > step:
            shutil.rmtree(path)
    return left[0]


def load_checkpoint(
    directory: Path,
    model: PreTrainedModel,
    optimizers: Optimizers,
    say: Callable[[str], None],
    ranks: Ranks = ALONE,
) -> TrainProgress:
    """Restore the newest readable checkpoint, reporting damaged ones; TrainProgress() where there is none.

    Raises TrainingError where all checkpoints are damaged.
    """
    names = ranks.broadcast([path.name for path in _list(directory)])
    for name in names:
        problem = "another process cannot read it"
        try:
            done, failed = _restore(directory / name, model, optimizers), False
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            problem, failed = f"{type(error).__name__}: {error}", True
        if not ranks.sum([float(failed)])[0]:
            return done
        say(f"  checkpoint {name} is damaged ({problem}); trying the one before")
    if names:
        raise TrainingError(
            "every checkpoint is damaged",
            where=str(directory),
            next_step=f"remove {directory} to train from the start",
        )
    return TrainProgress()


def _list(directory: Path) -> list[Path]:
    """Return whole checkpoints, newest first."""
    paths = directory.iterdir() if directory.is_dir() else iter(())
    return sorted((path for path in paths if re.fullmatch(r"step-\d{9}", path.name)), reverse=True)


def _step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _weights(model: PreTrainedModel) -> dict[str, Tensor]:
    # Tied weights occur once among the parameters, twice in a state dict. Frozen ones never change.
    kept = {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}
    saved = set(model.state_dict())
    return kept | {name: buffer for name, buffer in model.named_buffers() if name in saved}


def _restore(path: Path, model: PreTrainedModel, optimizers: Optimizers) -> TrainProgress:
    """Read a checkpoint in place: each process its own shards, whatever number of processes wrote it."""
    facts = read_json(path / _STATE)
    # The reader lists the files that are there, so it would not notice a missing one, nor a changed bit.
    if "files" not in facts:  # of an earlier version, which kept their size alone
        sound = sum(file.stat().st_size for file in path.glob("*.safetensors")) == facts["bytes"]
    else:
        kept = {key: value for key, value in facts.items() if key != "sha256"}
        if sha256_json(kept) != facts["sha256"]:
            raise ValueError(f"{_STATE} has changed")
        sound = _hashes(path) == facts["files"]
    if not sound:
        raise ValueError("files are missing, cut off or changed")
    reader, planner = HuggingFaceStorageReader(str(path)), DefaultLoadPlanner()
    contents = reader.read_metadata()
    saved, weights = contents.state_dict_metadata, _weights(model)
    if not weights.keys() <= saved.keys():
        raise ValueError("it belongs to another model")
    # Read into memory aligned by torch: sums over unaligned tensors may differ in the last bit.
    state = {
        key: optimizers.empty_like_saved(key, saved[key].size, saved[key].properties.dtype)
        for key in saved.keys() - weights.keys()
    }
    planner.set_up_planner(weights | state, contents, is_coordinator=True)
    reader.set_up_storage_reader(contents, is_coordinator=True)
    reader.read_data(planner.finish_plan(planner.create_local_plan()), planner).wait()
    optimizers.load(state, facts["optimizer"])
    return TrainProgress(facts["step"], facts["tokens"], facts["seconds"])


def save_trained(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, path: Path) -> None:
    """Write the trained model atomically: safetensors in float32, config, generation config, tokenizer."""
    use_stock_attention(model)
    drop_quantization_record(model)
    for config in (model.config, model.generation_config):
        for role in ("bos", "eos", "pad"):
            setattr(config, f"{role}_token_id", getattr(tokenizer, f"{role}_token_id"))
    # The base's sampling settings would affect how the trained model is evaluated.
    model.generation_config = GenerationConfig.from_model_config(model.config)
    if len(stops := stop_ids(tokenizer)) > 1:
        model.generation_config.eos_token_id = stops
    try:
        with atomic_path(path) as partial:
            model.save_pretrained(partial, safe_serialization=True)
            save_tokenizer(tokenizer, partial)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"the model cannot be written ({error})",
            where=str(path),
            next_step="free disk space, then build again",
        ) from error
