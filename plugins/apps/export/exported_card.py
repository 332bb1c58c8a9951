"""What stands beside an exported model, for whoever gets the folder and has never heard of genzoo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genzoo.core.text import markdown


def readme(about: Mapping[str, Any]) -> str:
    """Say what goes in and what comes out, and show it.

    Args:
        about: what ``export.json`` holds.
    """
    data, classes = about["data"], about["classes"]
    name = markdown(f"{about['recipe'] or 'model'} on {data['name'] or 'unnamed data'}")
    tool = "ONNX" if about["format"] == "onnx" else "torch.export"
    lines = [f"# {name}, as {tool}", "", "Made by `genzoo export`. The batch may have any size.", ""]
    lines += ["| file | takes | gives |", "| --- | --- | --- |"]
    for part in about["parts"].values():
        lines.append(f"| `{part['file']}` | {_ports(part['inputs'])} | {_ports(part['outputs'])} |")
    meaning = {
        "code": f"standard normal numbers; the same code gives the same sample (size {about['latent']['size']})",
        "label": f"class, 0 to {classes - 1}"
        + (f": {markdown(', '.join(about['class_names']))}" if about["class_names"] else ""),
        "sample": f"{data['modality']}, {about['units']}",
        "observation": f"{data['modality']}, {about['units']}" + ("; zeros and ones" if data["levels"] == 2 else ""),
        "mean": "of the code's posterior: give it to the generator to reconstruct",
        "std": "standard deviation of the code's posterior",
    }
    used = {k for part in about["parts"].values() for k in (*part["inputs"], *part["outputs"])}
    lines += ["", *(f"- `{k}`: {text}" for k, text in meaning.items() if k in used), ""]
    worst = max(part["error"] for part in about["parts"].values())
    lines += [f"On random inputs it differs from the original by {worst:.1g} at most.", "", "```python"]
    return "\n".join([*lines, *_code(about), "```"]) + "\n"


def _ports(ports: Mapping[str, Any]) -> str:
    return ", ".join(f"`{k}` {v['dtype']} ({', '.join(map(str, v['shape']))})" for k, v in ports.items())


def _code(about: Mapping[str, Any]) -> list[str]:
    """Lines that run the first of the programs, from this folder."""
    part = next(iter(about["parts"].values()))
    shown = []
    for k, port in part["inputs"].items():
        shape = ", ".join(map(str, [8, *port["shape"][1:]]))
        shown.append((k, shape))
    if about["format"] == "onnx":
        made = {k: f'np.random.randn({s}).astype("float32")' for k, s in shown}
        made |= {k: f'np.random.rand({s}).round().astype("float32")' if about["data"]["levels"] == 2 else
                 f'np.random.rand({s}).astype("float32")' for k, s in shown if k == "observation"}  # fmt: skip
        made |= {k: f"np.arange({s}) % {about['classes']}" for k, s in shown if k == "label"}
        given = ", ".join(f'"{k}": {v}' for k, v in made.items())
        session = f'onnxruntime.InferenceSession("{part["file"]}")'
        lines = ["import numpy as np", "import onnxruntime", "", f"session = {session}"]
        return [*lines, f"outputs = session.run(None, {{{given}}})"]
    made = {k: f"torch.randn({s})" if k == "code" else f"torch.rand({s})" for k, s in shown}
    made |= {k: f"torch.arange({s}) % {about['classes']}" for k, s in shown if k == "label"}
    return ["import torch", "", f'program = torch.export.load("{part["file"]}").module()',
            f"outputs = program({', '.join(made.values())})"]  # fmt: skip
