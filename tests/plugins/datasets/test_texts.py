"""Texts in files: read, refused, written and read again."""

import gzip

import pytest
import torch

import genzoo
from genzoo.core.errors import GenzooError, MissingPackage, UsageError
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.plugins.datasets.text_file import TextFile
from genzoo.plugins.modalities import alphabet

TEXT = of("text")


def opened(path, split="all", **options):
    return TextFile(TextFile.Options(path=str(path), **options)).load(split)


def test_lines_paragraphs_and_columns(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("one two\n\nthree\nfour\none two\n", encoding="utf-8")
    (tmp_path / "a.jsonl").write_text('{"text": "ab", "label": "x"}\n{"text": "ba", "label": "y"}\n')
    (tmp_path / "a.csv").write_text('text,label\n"a, b",x\n"c",y\n')
    texts = {p: TEXT.texts((d := opened(tmp_path / p, **how)).spec, d.x) for p, how in (
        ("a.txt", {}), ("a.jsonl", {}), ("a.csv", {}))}  # fmt: skip
    assert texts == {"a.txt": ["one two", "three", "four"], "a.jsonl": ["ab", "ba"], "a.csv": ["a, b", "c"]}
    whole = opened(tmp_path / "a.txt")
    assert "twice" in " ".join(whole.read.notes)
    assert opened(tmp_path / "a.csv").y.tolist() == [0, 1]
    assert opened(tmp_path / "a.csv").spec.class_names == ("x", "y")
    assert TEXT.opens(tmp_path / "a.csv") == ""  # which is a table, where nothing is said


@pytest.mark.parametrize(("name", "raw", "said"), [
    ("a.txt", b"good\nb\xffd\n", "line 2 has a byte that is not UTF-8"),
    ("a.txt", b"\n\n", "no text in it"),
    ("a.jsonl", b'{"text": "a"}\n[1]\n', "line 2 is no JSON object"),
    ("a.jsonl", b'{"other": "a"}\n', "line 1 has no text 'text'"),
    ("a.txt", "two\nlines".encode("utf-16"), "iconv -f utf-16 -t utf-8"),
    ("a.txt", "two\nlines".encode("utf-16-le"), "line 1 has a NUL byte"),
    ("a.txt", b"good\nb\0d\n", "line 2 has a NUL byte"),
    ("a.txt", b"", "no text in it"),
    ("a.txt", b"a" * 300_000, "the shortest has 300,000: split it into lines"),
    ("a.txt", b"a" * 300, "the shortest has 300: "),
    ("a.csv", b"a,b\n1,2\n", "line 2 has no text 'text': it has a, b"),
    ("a.csv", b'text,label\n"a\nb",x\nc\n', "no label 'label' at text 2"),
    ("a.csv", b'text,label\n"a\nb",x\nc,y,z\n', "line 4 has more cells"),
    ("a.csv", b'text\n"abc\n', "no CSV file that can be read"),
    ("a.jsonl", b'{"text": "a"}\n' * 6 + b'{"text": "b\n', "line 7 is no JSON object"),
    ("a.jsonl", b'{"text": "a"}\n{"text": "\\ud800"}\n', "line 2 has half a character"),
    ("a.jsonl", b'{"text": null}\n', "line 1 has no text in 'text', but null"),
])  # fmt: skip
def test_bad_files_are_a_sentence(tmp_path, name, raw, said) -> None:
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(UsageError, match=said):
        opened(tmp_path / name)


def test_lines_of_old_machines_and_labels_that_are_not_wanted(tmp_path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\rtwo\r\nthree\n")
    data = opened(tmp_path / "a.txt")
    assert TEXT.texts(data.spec, data.x) == ["one", "two", "three"]
    (tmp_path / "a.csv").write_bytes(b"text,label\nab,x\nc\n")
    data = opened(tmp_path / "a.csv", labels="none")
    assert (TEXT.texts(data.spec, data.x), data.y) == (["ab", "c"], None)


@pytest.mark.parametrize("text", ["naïve 😀 \t x", "", "日本\x00語"])
def test_bytes_come_back(text) -> None:
    facts = {"tokens": "bytes", "alphabet": ""}
    assert alphabet.decode(alphabet.encode([text], facts, 40), facts) == [text]


def test_model_space_is_exact() -> None:
    spec = DataSpec("text", (3,), 246, facts={"tokens": "bytes"})
    rows = torch.arange(246, dtype=torch.uint8).view(-1, 3)
    assert torch.equal(TEXT.to_storage(spec, TEXT.to_units(spec, TEXT.from_rows(spec, rows))), rows)


def test_too_long_a_text_is_refused() -> None:
    with pytest.raises(UsageError, match="more than 2"):
        alphabet.encode(["abc"], {"tokens": "characters", "alphabet": "abc"}, 3)


def test_texts_of_installed_packages(tmp_path, monkeypatch) -> None:
    """A program and files that are like those of the packages; without them a sentence says which to install."""
    program = tmp_path / "bible"
    verses = "Ge1:1 In the beginning.\\nGe1:2 And: so.\\nSol1:1 In the beginning.\\nRev22:21 Amen.\\n"
    program.write_text(f'#!/bin/sh\n[ "$1 $2" = "-f Gen1:1-Rev22:21" ] && printf "{verses}"\n')
    program.chmod(0o755)
    (tmp_path / "web2").write_text("A\nabba\n\nabbacy\n" + "b" * 30 + "\n")
    (tmp_path / "names.gz").write_bytes(gzip.compress(b"Ada\nAdam\n"))
    monkeypatch.setenv("PATH", str(tmp_path))
    wanted = {"kjv": ["In the beginning.", "And: so.", "Amen."], "words": ["A", "abba", "abbacy"],
              "names": ["Ada", "Adam"]}  # fmt: skip
    paths = {"kjv": {}, "words": {"path": str(tmp_path / "web2")}, "names": {"path": str(tmp_path / "names.gz")}}
    for name, options in paths.items():
        data = genzoo.load_data(name, split="all", options=options)
        assert TEXT.lines(data.spec, data.x) == wanted[name]
        assert len(genzoo.load_data(name, split="test", options=options)) == 1
    (tmp_path / "names.gz").write_bytes(b"no gzip")
    with pytest.raises(GenzooError, match="no file of lines"):
        genzoo.load_data("names", options=paths["names"])
    program.write_text("#!/bin/sh\necho something else\n")
    with pytest.raises(GenzooError, match="no program that writes verses"):
        genzoo.load_data("kjv")
    program.unlink()
    for name, said in (("kjv", "apt install bible-kjv"), ("words", "apt install miscfiles")):
        options = {"path": str(tmp_path / "none")} if name == "words" else {}
        with pytest.raises(MissingPackage, match=said):
            genzoo.load_data(name, options=options)


def test_verses_of_two_languages_lose_their_marks_and_footnotes(tmp_path, monkeypatch) -> None:
    program = tmp_path / "mod2imp"
    english = (
        "$$$[ Module Heading ]\n\n$$$Genesis 0:0\n<title>Preface</title>\n$$$Genesis 1:0\n<chapter n='1'/>\n"
        "$$$Genesis 1:1\n<title>Of old</title><w lemma='x'>In</w> <w>the</w> beginning<note n='f'>Or <hi>first</hi> "
        "</note>, God<note>One.</note>made &amp; saw.\n"
        "$$$I Samuel 1:10\n<l>“Rise,</l><l>king!<note>a\nb</note>”</l>\n$$$Psalms 1:1\n\n"
        "$$$Mark 1:1\n<q m=''/>So.<q/>\n"
    )
    (tmp_path / "one").write_text(english)
    (tmp_path / "dos").write_text("$$$Génesis 1:1\nSea la luz.\n$$$Génesis 1:2\nSo.\n")
    program.write_text(f'#!/bin/sh\n/bin/cat "{tmp_path}/$1" 2>/dev/null\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    data = genzoo.load_data("bibles", split="all", options={"modules": ["one", "dos"]})
    plain = ["In the beginning, God made & saw.", "“Rise, king!”", "So.", "Sea la luz."]
    assert TEXT.lines(data.spec, data.x) == plain
    assert data.spec.class_names == ("dos", "one")
    assert data.y.tolist() == [1, 1, 1, 0]
    assert genzoo.load_data("bibles", split="all", options={"modules": ["dos"], "labels": "none"}).y is None
    with pytest.raises(MissingPackage, match="no bible 'engWEB2015eb' that"):
        genzoo.load_data("bibles")
    with pytest.raises(UsageError, match="names of modules"):
        genzoo.load_data("bibles", options={"modules": ["-x"]})
    (tmp_path / "latin").write_bytes(b"$$$Gen 1:1\nSea la l\xfaz.\n")
    with pytest.raises(GenzooError, match="wrote what is no UTF-8 of latin"):
        genzoo.load_data("bibles", options={"modules": ["latin"]})
    program.write_text(f'#!/bin/sh\n/bin/cat "{tmp_path}/$1"\nexit 3\n')
    with pytest.raises(GenzooError, match="stopped at dos with exit code 3"):
        genzoo.load_data("bibles", options={"modules": ["dos"]})
    program.unlink()
    with pytest.raises(MissingPackage, match="apt install libsword-utils sword-text-web sword-text-sparv"):
        genzoo.load_data("bibles")


def test_sayings_are_what_lines_of_percent_part(tmp_path) -> None:
    folder = tmp_path / "fortunes"
    folder.mkdir()
    (folder / "wise").write_text("%\nTo be.\n\t-- W. S.\n%\n\n%\n5 % more\n%\n")
    (folder / "art").write_text("Ars longa.\n%\n")
    (folder / "art.dat").write_bytes(b"\x00\xff")
    (folder / "art.u8").symlink_to("art")
    data = genzoo.load_data("fortunes", split="all", options={"path": str(folder)})
    assert TEXT.lines(data.spec, data.x) == ["Ars longa.", "To be. -- W. S.", "5 % more"]
    assert [data.spec.class_names[i] for i in data.y] == ["art", "wise", "wise"]
    (folder / "dos").write_bytes(b"One.\r\n%\r\nTwo\r\nlines.\r\n%")
    data = genzoo.load_data("fortunes", split="all", options={"path": str(folder)})
    assert TEXT.lines(data.spec, data.x)[1:3] == ["One.", "Two lines."]
    for wrong, said in ((str(folder / "art"), "art is no folder"), ("", "data.path is empty")):
        with pytest.raises(UsageError, match=said):
            genzoo.load_data("fortunes", options={"path": wrong})
    (folder / "bad").write_bytes(b"\xff\n%\n")
    with pytest.raises(GenzooError, match="bad is no file of sayings"):
        genzoo.load_data("fortunes", options={"path": str(folder)})
    with pytest.raises(MissingPackage, match="apt install fortunes"):
        genzoo.load_data("fortunes", options={"path": str(tmp_path / "none")})


def test_one_text_alone_is_taken_and_that_is_said(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("hello world\n")
    data = opened(tmp_path / "a.txt", "train")
    assert TEXT.texts(data.spec, data.x) == ["hello world"]
    assert "one text alone" in " ".join(data.read.notes)
    assert not opened(tmp_path / "a.txt").read.notes


@pytest.mark.parametrize("damage", ["cut off", "other bytes", "no gzip"])
def test_packed_texts_that_are_damaged_get_one_sentence(tmp_path, damage) -> None:
    packed = gzip.compress("".join(f"w{i * i % 977}\n" for i in range(2000)).encode())
    half = len(packed) // 2
    raw = {"cut off": packed[:half], "other bytes": packed[:10] + b"\x07" * half, "no gzip": b"word\n"}[damage]
    (tmp_path / "t.txt.gz").write_bytes(raw)
    with pytest.raises(GenzooError, match="no file of lines that can be read"):
        genzoo.load_data("words", options={"path": str(tmp_path / "t.txt.gz")})
    with pytest.raises(GenzooError) as error:
        genzoo.load_data(tmp_path / "t.txt.gz")
    assert "\n" not in str(error.value)
