"""README.md and CONTRIBUTING.md as pages of the site, their links as a page in docs has them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that stand outside docs."""
    for page, path in PAGES.items():
        files.append(File.generated(config, page, content=rewritten((ROOT / path).read_text(encoding="utf-8"))))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links from docs to files outside it."""
    return markdown if page.file.src_uri in PAGES else rewritten(markdown)


def on_post_page(output: str, **_: Any) -> str:
    """Say what the theme leaves unsaid to those who hear the page."""
    return output.replace(
        'data-md-component="search" role="dialog"', 'data-md-component="search" role="dialog" aria-label="Search"'
    )


def rewritten(text: str) -> str:
    """Links to docs/x.md, ../README.md and the like, from where the pages stand."""
    text = re.sub(r"\]\((?:\.\./)?docs/", "](", text)
    for page, path in PAGES.items():
        text = re.sub(rf"\]\((?:\.\./)?{re.escape(path)}(#[^)]*)?\)", rf"]({page}\1)", text)
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]*\)", r"\1", text)  # a source file is no page
