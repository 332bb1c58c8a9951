"""What people's .csv files look like: each is read right, or refused in one sentence."""

from __future__ import annotations

import gzip

import pytest

pa = pytest.importorskip("pyarrow")

import genzoo  # noqa: E402
from genzoo.core.errors import GenzooError, UsageError  # noqa: E402
from genzoo.plugins.apps.tables.complete import complete  # noqa: E402
from genzoo.plugins.apps.tables.inspect_file import inspect  # noqa: E402
from genzoo.plugins.datasets.table_file import data_of, kinds  # noqa: E402
from genzoo.plugins.modalities.csv_files import form, meant  # noqa: E402
from genzoo.plugins.modalities.table_files import given_back, read_table  # noqa: E402

FILES = {
    "decimal commas": ("id;price\n" + "1;1,50\n2;-0,25\n3;\n", {"id": [1, 2, 3], "price": [1.5, -0.25, None]}),
    "points beside commas": ("a;b\n1.5;1,2\n2.5;3,4\n", {"a": [1.5, 2.5], "b": ["1,2", "3,4"]}),
    "a mark at the beginning": ("\ufeffage,town\n1,x\n2,y\n", {"age": [1, 2], "town": ["x", "y"]}),
    "commas in names": ('"a, b, c";d\n1;u\n2;v\n', {"a, b, c": [1, 2], "d": ["u", "v"]}),
    "quotes": ('a,"say ""it"""\n1,"x ""y"", z"\n2,"l\nm"\n', {"a": [1, 2], 'say "it"': ['x "y", z', "l\nm"]}),
    "zeros in front": ("zip,n\n00501,1\n10001,2\n,3\n", {"zip": ["00501", "10001", None], "n": [1, 2, 3]}),
    "zero itself": ("n\n0\n10\n-0\n", {"n": [0, 10, 0]}),
    "more digits than a number has": ("k,x\n9999999999999999999999,1e30\n1,2\n",
                                      {"k": ["9999999999999999999999", "1"], "x": [1e30, 2.0]}),
    "blanks": (" a , b \n 1 , x \n 2 , y \n", {"a": [1, 2], "b": ["x", "y"]}),
    "empty lines": ("\n\na,b\n1,x\n\n2,y\n", {"a": [1, 2], "b": ["x", "y"]}),
    "lines that end in two signs": ("a,b\r\n1,x\r\n2,y\r\n", {"a": [1, 2], "b": ["x", "y"]}),
}  # fmt: skip


@pytest.mark.parametrize("what", FILES)
def test_files_are_read_as_people_mean_them(tmp_path, what):
    text, held = FILES[what]
    (tmp_path / "t.csv").write_bytes(text.encode())
    assert read_table(tmp_path / "t.csv").to_pydict() == held


def test_cells_of_several_lines_are_read_beyond_the_first_part_of_a_file(tmp_path):
    line = '1,"two\n\nlines ' + "x" * 100 + '"\n'
    (tmp_path / "t.csv").write_text("a,b\n" + line * 20_000)
    assert len(read_table(tmp_path / "t.csv")) == 20_000


REFUSED = {
    "utf-16": ("a,b\n1,x\n".encode("utf-16"), "is text in UTF-16: save it in UTF-8"),
    "latin-1": ("a,town\n1,Köln\n".encode("latin-1"), "column 'town' is not in UTF-8"),
    "nothing": (b"", "cannot be read as a table"),
    "names alone": (b"a,b\n", "no rows"),
    "pandas' index": (b",a\n0,1\n1,2\n", "a column without a name, number 1 of 2"),
    "one name twice": (b"a,b,a\n1,2,3\n", "two columns of one name, 'a'"),
    "one name twice but for blanks": (b"a, a\n1,2\n", "two columns of one name, 'a'"),
    "rows of other lengths": (b"a,b\n1,2\n1,2,3\n", "Expected 2 columns, got 3"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_other_files_get_one_sentence(tmp_path, what):
    content, said = REFUSED[what]
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(GenzooError, match=said) as error:
        genzoo.fit("table-ar", tmp_path / "t.csv", steps=1, progress=False)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [" a", "a\nb"])
def test_names_of_a_frame_that_no_file_could_hold_are_refused(name):
    with pytest.raises(UsageError, match="is one line without blanks at its ends"):
        data_of(pa.table({name: ["u", "v"] * 30}), "rows")


def test_texts_that_seem_to_be_numbers_or_dates_are_said(tmp_path):
    rows = "".join(f"${i}.50,{1 + i % 28}/3/20{10 + i // 28},C{i}\n" for i in range(84))
    (tmp_path / "t.csv").write_text("pay,day,key\n" + rows)
    notes = inspect(tmp_path / "t.csv").notes
    assert [n.split("'")[1] for n in notes] == ["pay", "day"]
    assert "numbers: write them as 1234.5" in notes[0]
    assert "dates: write them as 2024-02-29" in notes[1]
    for some, what in ((["1,234", "5,678.9"], "numbers"), (["12 %"], "numbers"), (["3. Mai 2020"], "dates"),
                       (["00501", "10001"], ""), (["555-1234"], ""), (["C1", "C2"], ""), ([], "")):  # fmt: skip
        assert meant(some) == what


def test_whole_numbers_that_no_real_number_tells_apart_come_back():
    """As float64, the wrong form, they would be multiples of 256."""
    table = pa.table({
        "code": pa.array([2**60 + i % 3 for i in range(90)], pa.int64()),
        "large": pa.array([None if i == 5 else 2**63 + i % 2 for i in range(90)], pa.uint64()),
        "key": pa.array([2**61 + 7 * i for i in range(90)], pa.int64()),
    })  # fmt: skip
    found = kinds(table, "rows")
    back = given_back(found, data_of(table, "rows").x.numpy())
    assert [c.kind for c in found] == ["category", "category", "id"]
    assert back.schema == table.schema
    assert back.drop_columns("key").equals(table.drop_columns("key"))
    assert not set(back["key"].to_pylist()) & set(table["key"].to_pylist())


def test_a_file_of_decimal_commas_is_completed_in_its_own_form(tmp_path):
    (tmp_path / "t.csv").write_text("town;price\n" + "u;1,5\nv;2,25\n" * 40)
    run = genzoo.fit("table-ar", tmp_path / "t.csv", tmp_path / "run", steps=1, progress=False,
                     options={"likelihood.hidden": 8})  # fmt: skip
    (tmp_path / "holes.csv").write_text(" town ; price\nu;\nv;2,250\n")
    complete(run.model, tmp_path / "holes.csv", tmp_path / "full.csv")
    head, first, second = (tmp_path / "full.csv").read_text().splitlines()
    assert (head, second) == (" town ; price", "v;2,250")
    assert first in ("u;1,5", "u;2,25")
    assert form(tmp_path / "full.csv").decimal == ","


def test_a_frame_takes_the_options_of_a_file():
    table = pa.table({"a": ["u", "v"] * 50, "n": list(range(50)) * 2, "raw": pa.array([b"x"] * 100)})
    options = {"data.drop": "raw", "data.labels": "a", "data.category": "n", "likelihood.hidden": 8}
    run = genzoo.fit("table-ar", table, steps=1, progress=False, options=options)
    assert run.model.spec.class_names == ("u", "v")
    assert run.model.spec.facts["kind"] == ("category", "category")
    assert run.model.sample(3).column_names == ["a", "n"]
    with pytest.raises(UsageError, match="did you mean"):
        genzoo.fit("table-ar", table, steps=1, progress=False, options={"data.bnis": 4})
    with pytest.raises(UsageError, match="one of their columns"):
        genzoo.fit("table-ar", table.drop_columns("raw"), steps=1, labels=[0] * 100, progress=False)


def test_commas_that_can_be_of_thousands_are_not_taken_for_decimals_in_silence(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("town;pay\n" + "u;12,500\nv;7,250\n" * 40)
    assert set(read_table(path)["pay"].to_pylist()) == {"12,500", "7,250"}
    said = [n for n in inspect(path).notes if "thousands or decimals" in n]
    assert len(said) == 1
    assert "t.csv like 12,500 can be" in said[0]
    assert "write 12500 or 12.500" in said[0]
    assert said[0] in genzoo.load_data(path).read.notes
    assert form(path, decimals=True).decimal == ","  # a model that knows real numbers reads its own files

    for clear in ("u;1,5\n", "u;0,125\n", "u;1234,500\n", 'u;"1,25"\n'):  # the last line, beyond what is looked at
        path.write_text("town;pay\n" + "u;12,500\nv;7,250\n" * 10_000 + clear)
        assert set(read_table(path)["pay"].to_pylist()) >= {12.5, 7.25}, clear
        assert not [n for n in inspect(path).notes if "thousands" in n]
    path.write_text("town;pay\n" + "u;12,500\n" * 20_000)  # the head ends within a cell somewhere
    for blanks in range(9):
        path.write_text("town" + "x" * blanks + ";pay\n" + "u;12,500\n" * 20_000)
        assert form(path).decimal == "."


@pytest.mark.parametrize("damage", ["cut off", "other bytes"])
def test_a_packed_file_that_is_damaged_gets_one_sentence(tmp_path, damage):
    packed = gzip.compress("".join(f"{i * i % 977},{i * 7 % 31}\n" for i in range(5000)).encode())
    half = len(packed) // 2
    (tmp_path / "t.csv.gz").write_bytes(packed[:half] if damage == "cut off" else packed[:10] + b"\x07" * half)
    with pytest.raises(GenzooError, match=r"t\.csv\.gz cannot be read as a table"):
        genzoo.fit("table-ar", tmp_path / "t.csv.gz", steps=1, progress=False)


def test_a_path_beside_a_frame_is_refused():
    with pytest.raises(UsageError, match=r"in memory: leave out the file, data\.path=other\.csv"):
        genzoo.fit("table-ar", pa.table({"a": ["u", "v"] * 50}), options={"data.path": "other.csv"}, progress=False)
