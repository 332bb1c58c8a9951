"""A Space of the Hub: the page of an explorer with some weights, as three files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version

from genzoo.registry.weights.base import CARD
from genzoo.registry.weights.upload import File

APP = """\"\"\"The explorer of genzoo with the weights of {repository}.\"\"\"

import genzoo

genzoo.explore({weights}, host="0.0.0.0", port=7860)
"""
READ_ME = """---
title: {title}
emoji: 🦓
sdk: gradio
app_file: app.py
models:
- {repository}
license: {license}
---

Play with [{repository}]({link}): samples, codes, walks, your own files. It is the page that
`genzoo explore hf:{repository}` opens on your own machine.
"""
PRIVATE = """
The weights are private: the Space's settings want a secret `HF_TOKEN` that may read them.
"""


def space_files(
    repository: str, revision: str, title: str, license: str, extras: Sequence[str] = (), private: bool = False
) -> tuple[File, ...]:
    """The files of a Space that shows the weights of a repository, at a revision if one is given.

    ``extras`` are those of genzoo that the weights' kind of data needs; of ``private`` weights it says what opens them.
    """
    weights = f"hf:{repository}{f'@{revision}' if revision else ''}"
    app = APP.format(repository=repository, weights=json.dumps(weights))
    needs = f"genzoo[{','.join(['explore', 'compress', *extras])}]=={version('genzoo')}\n"
    read_me = READ_ME.format(title=json.dumps(title, ensure_ascii=False), repository=repository, license=license,
                             link=f"https://huggingface.co/{repository}")  # fmt: skip
    contents = {CARD: read_me + PRIVATE * private, "app.py": app, "requirements.txt": needs}
    return tuple(File.of(name, text.encode()) for name, text in contents.items())
