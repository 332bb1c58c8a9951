"""Put the tables that ``genzoo bench … --out FOLDER`` wrote into docs/performance.md.

    python tests/bench/_tables.py FOLDER

Each goes between its marks, ``<!-- train -->`` and ``<!-- end -->``; tables that were not measured stay as they are.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"


def with_tables(page: str, tables: dict[str, str]) -> str:
    """Return a page with the named tables in their places."""
    for name, table in tables.items():
        marked = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        if not re.search(marked, page, re.DOTALL):
            raise SystemExit(f"the page has no place for a table {name!r}")
        page = re.sub(marked, lambda m, table=table: f"{m[1]}{table.strip()}\n{m[2]}", page, flags=re.DOTALL)
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    found = {p.stem: p.read_text(encoding="utf-8") for p in sorted(parser.parse_args().folder.glob("*.md"))}
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
    print(f"{PAGE.name}: {', '.join(found)}")


if __name__ == "__main__":
    main()
