"""Score texts with llama.cpp through its C interface: logits of all positions, as its perplexity tool takes them."""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.workers.job import Job, peak_rss_bytes, read_job, write_json

_ROOM = 1024  # bytes, more than any of the structures passed by value takes; the rest of it is never read


class _Opaque(ctypes.Structure):
    """Parameters whose defaults the library fills in and of which only the first integers are set here."""

    _fields_ = (("words", ctypes.c_uint32 * (_ROOM // 4)),)


class _Batch(ctypes.Structure):
    _fields_ = (
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.c_void_p),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    )


# Context, batch, micro-batch, sequences, two that are not set here, threads of one token and of many.
_DEFAULTS = (512, 2048, 512, 1, 0, 0, 1, 4, 4)


class Llama:
    """A GGUF opened by the library inside xllamacpp, on the processor alone."""

    def __init__(self, gguf: str, *, longest: int, threads: int) -> None:
        import xllamacpp

        self.library = ctypes.CDLL(str(next(Path(xllamacpp.__file__).parent.glob("*.so"))))
        self._declare()
        self.library.llama_backend_init()
        self.model = self.library.llama_model_load_from_file(
            gguf.encode(), self.library.llama_model_default_params()
        )
        settings = self.library.llama_context_default_params()
        if tuple(settings.words[:9]) != _DEFAULTS:
            raise SystemExit(f"llama.cpp's context parameters begin otherwise: {settings.words[:9]}")
        settings.words[0] = settings.words[1] = settings.words[2] = -(-longest // 256) * 256
        settings.words[7] = settings.words[8] = threads
        self.context = self.library.llama_init_from_model(self.model, settings)
        vocabulary = self.library.llama_model_get_vocab(self.model)
        self.rows = self.library.llama_vocab_n_tokens(vocabulary)

    def _declare(self) -> None:
        pointer = ctypes.c_void_p
        for name, result, arguments in (
            ("llama_backend_init", None, []),
            ("llama_model_default_params", _Opaque, []),
            ("llama_context_default_params", _Opaque, []),
            ("llama_model_load_from_file", pointer, [ctypes.c_char_p, _Opaque]),
            ("llama_init_from_model", pointer, [pointer, _Opaque]),
            ("llama_model_get_vocab", pointer, [pointer]),
            ("llama_vocab_n_tokens", ctypes.c_int32, [pointer]),
            ("llama_get_memory", pointer, [pointer]),
            ("llama_memory_clear", None, [pointer, ctypes.c_bool]),
            ("llama_decode", ctypes.c_int32, [pointer, _Batch]),
            ("llama_get_logits", ctypes.POINTER(ctypes.c_float), [pointer]),
        ):
            function = getattr(self.library, name)
            function.restype, function.argtypes = result, arguments

    def nats(self, tokens: Sequence[int]) -> float:
        """Return the negative log-probability of all tokens but the first."""
        self.library.llama_memory_clear(self.library.llama_get_memory(self.context), True)
        if self.library.llama_decode(self.context, _batch(tokens)):
            raise SystemExit("llama.cpp could not decode")
        raw = self.library.llama_get_logits(self.context)
        size = len(tokens) * self.rows
        view = (ctypes.c_float * size).from_address(ctypes.addressof(raw.contents))
        logits = torch.frombuffer(view, dtype=torch.float32).view(len(tokens), self.rows)
        targets = torch.tensor(tokens[1:])
        found = logits[:-1].gather(1, targets[:, None])[:, 0] - logits[:-1].logsumexp(1)
        return -float(found.double().sum())


def _batch(tokens: Sequence[int]) -> _Batch:
    count = len(tokens)
    sequence = (ctypes.c_int32 * 1)(0)
    pointer = ctypes.POINTER(ctypes.c_int32)
    return _Batch(
        count,
        (ctypes.c_int32 * count)(*tokens),
        None,
        (ctypes.c_int32 * count)(*range(count)),
        (ctypes.c_int32 * count)(*[1] * count),
        (pointer * count)(*[ctypes.cast(sequence, pointer)] * count),
        (ctypes.c_int8 * count)(*[1] * count),
    )


def main(job: Job) -> None:
    """Write bits over all sequences of `data` (lists of token ids, the first is context) and the seconds."""
    torch.set_num_threads(job.threads)
    sequences = job.sequences
    llama = Llama(job.model, longest=max(map(len, sequences)), threads=job.threads)
    llama.nats(sequences[0])
    started = time.perf_counter()
    with torch.inference_mode():
        bits = math.fsum(llama.nats(tokens) for tokens in sequences) / math.log(2)
    write_json(
        job, {"seconds": time.perf_counter() - started, "bits": bits, "peak_rss_bytes": peak_rss_bytes()}
    )


if __name__ == "__main__":
    main(read_job())
