"""Licenses as the Hub calls them (https://huggingface.co/docs/hub/repositories-licenses)."""

from __future__ import annotations

LICENSES: tuple[str, ...] = (
    *(
        "apache-2.0",
        "mit",
        "isc",
        "zlib",
        "ncsa",
        "unlicense",
        "wtfpl",
        "bsl-1.0",
        "postgresql",
        "artistic-2.0",
        "afl-3.0",
    ),
    *("bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "ms-pl", "mpl-2.0", "osl-3.0", "ofl-1.1", "ecl-2.0"),
    *(
        "cc",
        "cc0-1.0",
        "pddl",
        "odc-by",
        "odbl",
        "c-uda",
        "cdla-sharing-1.0",
        "cdla-permissive-1.0",
        "cdla-permissive-2.0",
    ),
    *("cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nd-4.0"),
    *("cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0"),
    *("cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"),
    *("gpl", "gpl-2.0", "gpl-3.0", "agpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "lgpl-lr", "gfdl", "epl-1.0", "epl-2.0"),
    *("eupl-1.1", "eupl-1.2", "etalab-2.0", "lppl-1.3c", "openrail", "openrail++", "bigscience-openrail-m"),
    *("bigscience-bloom-rail-1.0", "bigcode-openrail-m", "creativeml-openrail-m", "open-mdw", "h-research"),
    *("intel-research", "unknown", "other"),
)
