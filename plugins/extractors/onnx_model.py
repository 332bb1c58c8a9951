"""Runs ONNX files through onnxruntime, on the CPU."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.storage.strict import regular


class OnnxModel:
    """A session with one input of images.

    Attributes:
        sha256: of the file.
        shape: of the input, with None for what may vary.
        outputs: names of the outputs.

    Args:
        path: the file.
        extra: name of an inner value that is to be an output too.
    """

    def __init__(self, path: Path, extra: str = "") -> None:
        try:
            import onnxruntime
        except ImportError:
            raise GenzooError(f"{path.name} needs onnxruntime: pip install onnxruntime") from None
        try:
            content = regular(path).read_bytes()
        except OSError as e:
            raise GenzooError(f"cannot read {path}: {(e.strerror or str(e)).lower()}") from None
        self.path, self.sha256 = path, hashlib.sha256(content).hexdigest()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(
                content + (_output(extra) if extra else b""), options, providers=["CPUExecutionProvider"]
            )
        except Exception as e:  # onnxruntime's errors have no common base but this
            raise GenzooError(f"{path} is no ONNX model that can be run: {str(e).partition(chr(10))[0]}") from None
        if len(self.session.get_inputs()) != 1:
            names = ", ".join(i.name for i in self.session.get_inputs())
            raise UsageError(f"{path} takes the inputs {names}: an extractor takes one, a batch of images")
        (given,) = self.session.get_inputs()
        self._name, self._eight_bit = given.name, given.type == "tensor(uint8)"
        self._half = given.type == "tensor(float16)"
        self.shape = tuple(d if isinstance(d, int) and d > 0 else None for d in given.shape)
        self.outputs = [o.name for o in self.session.get_outputs()]

    def __call__(self, x: Tensor) -> list[Tensor]:
        """Outputs for a batch, float32 on the CPU; a file with a fixed batch size is fed one such batch at a time."""
        array = x.detach().cpu().contiguous()
        array = array.mul(255).round().to(torch.uint8) if self._eight_bit else array
        array = array.half() if self._half else array
        size = self.shape[0] if self.shape else None
        parts = [array] if size is None else list(torch.split(array, size))
        found: list[list[Any]] = []
        for part in parts:
            short = 0 if size is None else size - len(part)
            full = torch.cat([part, part[-1:].expand(short, *part.shape[1:])]) if short else part
            try:
                outputs = self.session.run(None, {self._name: full.numpy()})
            except Exception as e:
                raise GenzooError(
                    f"{self.path} failed on images of {tuple(x.shape)}: {str(e).partition(chr(10))[0]}"
                ) from None
            found.append([torch.from_numpy(o)[: len(part)].float() for o in outputs])
        return [torch.cat(several) for several in zip(*found, strict=True)]


def _output(name: str) -> bytes:
    """What makes an inner float value an output when it is appended to a file: protobuf merges what is repeated.

    ModelProto.graph is field 7, GraphProto.output 12, ValueInfoProto.name 1 and .type 2, TypeProto.tensor_type
    1, its elem_type 1, of which 1 is float.
    """
    kind = _field(2, _field(1, bytes([1 << 3, 1])))
    return _field(7, _field(12, _field(1, name.encode()) + kind))


def _field(number: int, content: bytes) -> bytes:
    size, length = len(content), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content
