"""Text of others at each place where it is shown or run: terminal, Markdown, HTML, Python, TOML, shell; torch-free.

Versions and names of plugins, messages of exceptions, summaries, and names of classes and data are data: they must not
move a cursor, turn the reading direction, hide characters, or become markup or code.
"""

from __future__ import annotations

import json
import re
import shlex
import sys

from genzoo.core.errors import GenzooError


def one_line(text: object, most: int = 600) -> str:
    """Text for a terminal, on one line: what cannot be printed becomes a space, and what is beyond ``most`` is cut."""
    text = clean = str(text)
    if not text.isprintable():
        clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return clean if len(clean) <= most else f"{clean[: most - 1]}…"


def lines(text: object) -> str:
    """Text for a terminal, on as many lines as it has: what cannot be printed becomes a mark (U+FFFD)."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else "    " if c == "\t" else "\ufffd" for c in text)


_MARKS = str.maketrans(
    {"✓": "ok", "✗": "x", "↑": "higher", "↓": "lower", "–": "-", "—": "-", "…": "...", "×": "x", "·": "*", "−": "-",
     "σ": "sigma", "µ": "micro", "“": '"', "”": '"', "‘": "'", "’": "'", "→": "->", "←": "<-", "≤": "<=", "≥": ">=",
     "±": "+-", "√": "sqrt", "∞": "infinity", "≈": "~", "²": "^2", "³": "^3", "‖": "||"}
)  # fmt: skip


def in_ascii(error: UnicodeError) -> tuple[str, int]:
    """An error handler for streams: what they cannot encode becomes a word or mark that they can, never ``?``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    import unicodedata

    out = []
    for c in error.object[error.start : error.end]:
        plain = c.translate(_MARKS)
        if not plain.isascii():
            name = unicodedata.name(c, "").split()
            plain = unicodedata.normalize("NFKD", c).encode("ascii", "ignore").decode()
            plain = name[-1].lower() if not plain and name[:1] == ["GREEK"] else plain
        out.append(plain or c.encode("ascii", "backslashreplace").decode())
    return "".join(out), error.end


def error_line(error: BaseException) -> str:
    """An exception in one line, with its type unless genzoo raised it; one whose message cannot be had too."""
    try:
        text = one_line(" ".join(str(error).split()), 300)
    except Exception:  # the message is a plugin's code, and may raise anything
        text = ""
    if isinstance(error, GenzooError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def tell(text: object) -> None:
    """Print a sentence of genzoo's on stderr."""
    print(f"genzoo: {lines(text)}", file=sys.stderr, flush=True)


def markdown(text: object) -> str:
    """Text within a line of Markdown, or a cell of its tables: nothing in it is markup."""
    from html import escape  # 2 ms that a listing does without

    escaped = escape(one_line(text), quote=False)
    return re.sub(r"[\\`*|~$]|(?<!\w)_|_(?!\w)|\](?=[(\[:]|$)", r"\\\g<0>", escaped)  # snake_case is no emphasis


def code(text: object) -> str:
    """Text as a code span of Markdown, also within a table."""
    clean = one_line(text).replace("|", "¦") or " "
    longest = max(map(len, re.findall("`+", clean)), default=0)
    space = " " * (clean[:1] == "`" or clean[-1:] == "`")
    return f"{'`' * (longest + 1)}{space}{clean}{space}{'`' * (longest + 1)}"


def html(text: object) -> str:
    """Text within HTML, or a quoted attribute of it."""
    from html import escape

    return escape("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in str(text)))


def python(text: object) -> str:
    """Text as a literal of Python, in double quotes."""
    return '"' + "".join(f"\\{c}" if c in '"\\' else c if c.isprintable() else ascii(c)[1:-1] for c in str(text)) + '"'


def toml(value: object) -> str:
    """A value in TOML; None is the text ``none``."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, str):
        return json.dumps("none" if value is None else value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def shell(text: object) -> str:
    """Text as one word of a shell; what cannot be printed is escaped in ``$'…'``, as bash and zsh read it."""
    word = str(text)
    if word.isprintable():
        return shlex.quote(word)
    escaped = (f"\\{c}" if c in "'\\" else c if c.isprintable() else ascii(c)[1:-1] for c in word)
    return f"$'{''.join(escaped)}'"
