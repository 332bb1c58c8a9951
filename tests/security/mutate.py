"""Mutations of a weights folder and what loading makes of each; run in a process of its own by test_fuzz.py.

``python mutate.py FOLDER SCRATCH SEED COUNT SIGNED`` prints one JSON object.
"""

from __future__ import annotations

import copy
import hashlib
import json
import random
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 7, 64, 10**6, 10**9, 2**31, 2**31 - 1, 2**53, 2**63, -(2**63), 2**64, 10**30,
    0.0, -0.5, 1.5, 1e-300, 1e300, "", "x", "mlp", "conv", "gan", "vae", "os:system", "builtins:eval",
    "torch.nn:Linear", "genzoo.plugins.nets.mlp:MLPGenerator", "../../etc/passwd", "/etc/passwd", "nets:mlp",
    "nets:conv", "gan:nets:mlp", "__import__('os')", "32", "1e5", "true", "none", "none, none", "\u0000",
    "\ud800", "ü" * 50, "\x1b[31m", "a\nb",
    "a" * 5000, [], {}, [1], [[1]], [1, 2, 3], [10**6] * 3, [2**31] * 8, [0], [-1, 8, 8], ["a"], [[[[[[[]]]]]]],
    [1.5, 8, 8], [True, True, True], {"a": 1}, {"name": "mlp", "options": {}}, list(range(2000)), "nan", [None],
]  # fmt: skip
WORDS = [
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 400, b"9" * 5000, b"[" * 50, b"{" * 20000, b'{"a":' * 40, b",",
    b'"', b"\\", b"\x00", b"\xff", b"\xef\xbb\xbf", b"null", b"true", b"-", b".", b"0x1", b"\\ud800", b"\\u0000", b"/*",
]  # fmt: skip
DTYPES = ["F32", "F16", "BF16", "F64", "I64", "I32", "U8", "BOOL", "F8_E4M3", "C64", "f32", "", None, 3, ["F32"]]
NUMBERS = [
    0,
    1,
    -1,
    2,
    3,
    4,
    8,
    255,
    2**16,
    2**31,
    2**32,
    2**40,
    2**62,
    2**63,
    2**64 - 1,
    2**64,
    10**30,
    1.0,
    True,
    None,
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values within JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [p for k, v in items for p in places(v, (*path, k))]


def mutate_json(rng: random.Random, raw: Any) -> Any:
    value = copy.deepcopy(raw)
    path = rng.choice(places(value))
    parent = value
    for key in path[:-1]:
        parent = parent[key]
    key, old = path[-1], parent[path[-1]]
    how = rng.randrange(9)
    if how <= 2:
        parent[key] = copy.deepcopy(rng.choice(VALUES))
    elif how == 3 and type(old) in (int, float):
        parent[key] = rng.choice([old + 1, old - 1, old * 2, old * 10**6, -old, float(old), str(old), [old], old / 3])
    elif how == 4:
        del parent[key]
    elif how == 5 and isinstance(parent, dict):
        parent[rng.choice(["evil", "__class__", str(key).upper(), f"{key} ", "options", "name"])] = rng.choice(VALUES)
    elif how == 6 and isinstance(old, (list, str)):
        parent[key] = old * rng.choice([2, 100, 10_000]) if old else [None] * 5000
    elif how == 7:
        other = value
        for k in rng.choice(places(value)):
            other = other[k]
        parent[key] = copy.deepcopy(other)
    else:
        parent[key] = rng.choice([str(old), [old], {"value": old}, not old])
    return value


def mutate_bytes(rng: random.Random, raw: bytes) -> bytes:
    at, how = rng.randrange(len(raw)), rng.randrange(7)
    if how == 0:
        return raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :]
    if how == 1:
        return raw[:at]
    if how == 2:
        return raw[:at] + rng.choice(WORDS) + raw[at:]
    if how == 3:
        return raw + rng.choice([rng.choice(WORDS), bytes(8), bytes(100_000), raw])
    if how == 4:
        end = min(len(raw), at + rng.randrange(1, 40))
        return raw[:at] + raw[end:]
    if how == 5:
        end = min(len(raw), at + rng.randrange(1, 40))
        return raw[:end] + raw[at:]
    return raw[:at] + rng.randbytes(rng.randrange(1, 9)) + raw[at:]


def mutate_config(rng: random.Random, raw: bytes) -> bytes:
    if rng.random() < 0.25:
        return mutate_bytes(rng, raw)
    value = json.loads(raw)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        value = mutate_json(rng, value)
        if not isinstance(value, dict) or not places(value):
            break
    text = json.dumps(value, ensure_ascii=True)
    if rng.random() < 0.05:  # a key twice
        key = rng.choice(list(value)) if value else "a"
        text = text[:-1] + f", {json.dumps(key)}: {json.dumps(value.get(key))}}}"
    return text.encode()


def mutate_tensors(rng: random.Random, raw: bytes) -> bytes:
    n = int.from_bytes(raw[:8], "little")
    header, data, how = json.loads(raw[8 : 8 + n]), raw[8 + n :], rng.randrange(12)
    if how <= 1:
        return raw[:8] + mutate_bytes(rng, raw[8 : 8 + n]) + data  # the length may no longer fit
    if how == 2:
        length = rng.choice(
            [n - 1, n + 1, n + 8, 0, 2**31, 2**63, 2**64 - 1, rng.randrange(2**64), rng.randrange(2 * n)]
        )
        return length.to_bytes(8, "little") + raw[8:]
    if how == 3:  # numbers: flipped bits, NaN
        at = 8 + n + rng.randrange(len(data))
        return raw[:at] + rng.choice([b"\xff" * 8, b"\x00\x00\xc0\x7f", bytes([raw[at] ^ 128])]) + raw[at + 8 :]
    if how == 4:
        return mutate_bytes(rng, raw)
    name = rng.choice([k for k in header if k != "__metadata__"])
    if how == 5:
        header[name]["dtype"] = rng.choice(DTYPES)
    elif how == 6:
        shape = header[name]["shape"]
        header[name]["shape"] = rng.choice(
            [shape[::-1], [*shape, 1], [1, *shape], shape[1:], [rng.choice(NUMBERS) for _ in shape], "x", [1] * 1000]
        )
    elif how == 7:
        offsets = header[name]["data_offsets"]
        i = rng.randrange(2)
        offsets[i] = rng.choice([offsets[i] + rng.choice([-8, -4, -1, 1, 4, 8]), rng.choice(NUMBERS), offsets[1 - i]])
    elif how == 8:
        about = header.pop(name)
        if rng.random() < 0.7:
            header[rng.choice(["evil", "", name + "x", name.upper(), "../" + name, "a" * 10_000, "\n", name])] = about
    elif how == 9:
        other = rng.choice([k for k in header if k != "__metadata__"])
        header[name], header[other] = header[other], header[name]
    elif how == 10:
        header["__metadata__"] = rng.choice([{"x": 1}, "x", {"x": "y" * 10**5}, {}, {"format": "pt"}, [1]])
    else:
        return raw[: 8 + n] + rng.choice([data[:-1], data + b"\x00", data[4:], data * 2, b"", data[::-1]])
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def sign(folder: Path) -> None:
    files = {}
    for name in ("config.json", "model.safetensors"):
        content = (folder / name).read_bytes()
        files[name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "files": files}))


def says(written: Any, understood: Any) -> bool:
    """Whether all that is written was understood as written; what is not written has its default."""
    if isinstance(written, dict):
        return isinstance(understood, dict) and all(
            k in understood and says(v, understood[k]) for k, v in written.items()
        )
    if isinstance(written, list):
        return isinstance(understood, list) and len(written) == len(understood) and all(map(says, written, understood))
    if type(understood) is float:
        return type(written) in (int, float) and written == understood
    return type(written) is type(understood) and written == understood


def fault(folder: Path, model: Any) -> str:
    """What is wrong with a model that loaded, by another reader of the files: empty if nothing."""
    import torch
    from safetensors.torch import load

    if not says(json.loads((folder / "config.json").read_bytes()), model.config.to_dict()):
        return "its config is not what the file says"
    stored, loaded = load((folder / "model.safetensors").read_bytes()), model.state_dict()
    if set(stored) != set(loaded):
        return "its tensors are not those of the file"
    for name, t in loaded.items():
        if not torch.equal(stored[name].to(t.dtype), t) or stored[name].shape != t.shape:
            return f"its tensor {name} is not the file's"
        if not torch.isfinite(t).all():
            return f"its tensor {name} has NaN"
    return ""


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(original: Path, scratch: Path, seed: int, count: int, signed: bool) -> dict[str, Any]:
    import genzoo
    from genzoo.core.errors import GenzooError

    raw = {name: (original / name).read_bytes() for name in ("config.json", "model.safetensors", "manifest.json")}
    kinds: dict[str, Callable[[random.Random, bytes], bytes]] = {
        "config.json": mutate_config, "model.safetensors": mutate_tensors,
    }  # fmt: skip
    if not signed:
        kinds["manifest.json"] = mutate_config
    scratch.mkdir()
    for name, content in raw.items():
        (scratch / name).write_bytes(content)
    for _ in range(3):
        assert fault(scratch, genzoo.load(scratch)) == ""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (pages + 2**30, pages + 2**30))
    before, report = megabytes(), {"refused": 0, "loaded": 0, "slowest": 0.0, "bad": []}
    words: set[str] = set()
    for i in range(count):
        rng = random.Random(f"{seed} {i}")
        name = rng.choice(list(kinds))
        mutated = {**raw, name: kinds[name](rng, raw[name])}
        for n, content in mutated.items():
            (scratch / n).write_bytes(content)
        if signed:
            sign(scratch)
        start, wrong = time.perf_counter(), ""
        try:
            model = genzoo.load(scratch)
        except GenzooError as e:
            report["refused"] += 1
            line = str(e)
            words.add(line.split(": ", 1)[-1][:40])
            if not line.isprintable() or len(line) > 1000 or not line.startswith(("/", "the weights in", "cannot read",
                                                                                 "tensor")):  # fmt: skip
                wrong = f"said {line[:300]!r}"
        except Exception:
            wrong = traceback.format_exc()[-1500:]
        else:
            report["loaded"] += 1
            wrong = fault(scratch, model)
            if not signed and any(mutated[n] != raw[n] for n in ("config.json", "model.safetensors")):
                wrong = wrong or "loaded although the manifest does not list it"
        took = time.perf_counter() - start
        report["slowest"] = max(report["slowest"], round(took, 3))
        if wrong:
            report["bad"].append(f"{seed} {i} {name}: {wrong}")
    report |= {"megabytes": megabytes() - before, "file": len(raw["model.safetensors"]) / 2**20, "reasons": len(words)}
    return report


if __name__ == "__main__":
    folder, place, number, many, fixed = sys.argv[1:]
    print(json.dumps(run(Path(folder), Path(place), int(number), int(many), fixed == "signed")))
