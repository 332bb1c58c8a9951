"""Fashion-MNIST, looked for in three places: genzoo's data folder, Debian's files, the Hub."""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import io
import math
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genzoo.core.data import Data, DataSource, Split, from_arrays
from genzoo.core.errors import GenzooError
from genzoo.core.storage.strict import regular
from genzoo.core.units import free_bytes, size_text
from genzoo.registry import declare

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
COUNTS: dict[Split, int] = {"train": 60_000, "test": 10_000}
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
HUB = "zalando-datasets/fashion_mnist"
_PREFIX: dict[Split, str] = {"train": "train", "test": "t10k"}
Images = NDArray[np.uint8]


@declare.dataset(
    "fashion-mnist",
    summary="70,000 grey 28×28 pictures of clothes in 10 classes",
    paper="arXiv:1708.07747",
    modalities=("image",),
)
class FashionMNIST(DataSource):
    """60,000 + 10,000 grey 28×28 pictures of clothes, 10 classes (H. Xiao et al., arXiv:1708.07747).

    Zalando SE, MIT license.
    """

    def read(self, split: Split) -> Data:
        for folder in (data_folder() / "fashion-mnist", DEBIAN):
            images = _find(folder, f"{_PREFIX[split]}-images-idx3-ubyte")
            if images is not None:
                labels = _find(folder, f"{_PREFIX[split]}-labels-idx1-ubyte")
                if labels is None:
                    raise GenzooError(
                        f"{images} is there, but its labels {_PREFIX[split]}-labels-idx1-ubyte.gz are not"
                    )
                return _data(read_idx(images, 3), read_idx(labels, 1), split, str(folder))
        hub = _from_hub(split)
        if isinstance(hub, str):
            raise GenzooError(
                f"Fashion-MNIST was not found: put its four .gz files into {data_folder() / 'fashion-mnist'}, or "
                f"install Debian's dataset-fashion-mnist, or let it come from the Hub with genzoo[hub-data] ({hub})"
            )
        return _data(*hub, split, HUB)


def data_folder() -> Path:
    """Where genzoo looks for data sets: ``$GENZOO_DATA``, or ``genzoo/data`` in the user's cache folder."""
    if os.environ.get("GENZOO_DATA"):
        return Path(os.environ["GENZOO_DATA"]).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "genzoo" / "data"


def read_idx(path: Path, rank: int) -> Images:
    """Read 8-bit numbers from an IDX file, gzipped or not; raises `GenzooError`.

    The format: two zero bytes, the type (8 is uint8), the rank, the sizes as big-endian 32-bit numbers, the data.
    """
    start = 4 + 4 * rank
    try:
        with gzip.open(regular(path)) if path.suffix == ".gz" else open(regular(path), "rb") as file:
            head = file.read(start)
            if head[:4] != bytes((0, 0, 8, rank)) or len(head) < start:
                raise GenzooError(f"{path} is no IDX file of 8-bit numbers with {rank} axes")
            shape = tuple(int(n) for n in np.frombuffer(head, ">u4", rank, 4))
            size = math.prod(shape)
            if size > free_bytes():
                raise GenzooError(f"{path} announces {size_text(size)}, more than is free: replace it")
            raw = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as e:
        raise GenzooError(f"{path} is damaged or truncated ({e}): replace it") from None
    if len(raw) != size:
        holds = f"{len(raw)} or more" if len(raw) > size else len(raw)
        raise GenzooError(f"{path} announces {size} values and holds {holds}: replace it")
    return np.frombuffer(raw, np.uint8).reshape(shape)


def _find(folder: Path, name: str) -> Path | None:
    return next((p for p in (folder / f"{name}.gz", folder / name) if p.is_file()), None)


def _data(images: Images, labels: Images, split: Split, place: str) -> Data:
    want = (COUNTS[split], 28, 28)
    if images.shape != want or len(labels) != len(images):
        found = f"{images.shape} and {len(labels)} labels"
        raise GenzooError(f"the Fashion-MNIST {split} images in {place} have shape {found} instead of {want}")
    return from_arrays(images, labels, name="fashion-mnist", class_names=CLASSES, license="MIT", split=split)


def _from_hub(split: Split) -> tuple[Images, Images] | str:
    """Images and labels from the Hub, or from its cache, or the reason why not."""
    if importlib.util.find_spec("pyarrow") is None:
        return "pyarrow is not installed"
    import huggingface_hub as hub
    from huggingface_hub.errors import LocalEntryNotFoundError
    from PIL import Image

    from genzoo.registry.weights.hub import offline

    file = f"fashion_mnist/{split}-00000-of-00001.parquet"
    where: dict[str, Any] = {"repo_id": HUB, "filename": file, "repo_type": "dataset"}
    try:
        path = hub.hf_hub_download(**where, local_files_only=True)
    except LocalEntryNotFoundError:
        if offline():
            return "which is not to be asked now"
        try:
            # The download itself retries for half a minute without a network: ask once, and give up quickly.
            hub.get_hf_file_metadata(hub.hf_hub_url(**where), timeout=5)
            path = hub.hf_hub_download(**where)
        except Exception as e:  # of the Hub, the operating system or the HTTP library
            return f"which failed: {type(e).__name__}"
    try:
        table = importlib.import_module("pyarrow.parquet").read_table(path)
        pictures = [np.asarray(Image.open(io.BytesIO(i["bytes"]))) for i in table["image"].to_pylist()]
        return np.stack(pictures), np.asarray(table["label"].to_pylist(), np.uint8)
    except Exception as e:
        raise GenzooError(f"{path} cannot be read as Fashion-MNIST: {type(e).__name__}: {e}") from e
