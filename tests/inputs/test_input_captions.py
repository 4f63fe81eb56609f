"""Captions for images, and images of two sources that belong together."""

import json
import os

import numpy as np
import pytest
from PIL import Image
from reading import refused

from genbench.inputs import captions, from_tensors, open_source, pairs

KEYS = ("a/1", "a/2.png", "b.x/3")
FILES = ("a/1.png", "a/2.png.jpg", "b.x/3.webp")
TEXTS = ["a dog, running", "two\u2028lines", "„ein Hund“"]


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def table(path, rows):
    quoted = ("".join(f'{file},"{text}"\n') for file, text in rows)
    path.write_text("file_name,text\n" + "".join(quoted), "utf-8")
    return path


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("line", ["\n", "\r\n"])
def test_one_caption_a_line(tmp_path, end, line):
    path = tmp_path / "c.txt"
    path.write_bytes((line.join(TEXTS) + (end and line)).encode())
    assert captions.read(path, KEYS) == TEXTS
    assert captions.read(path, None, 3) == TEXTS
    refused(lambda: captions.read(path, KEYS[:2]), "3 captions for 2 images")
    refused(lambda: captions.read(path, None, n=4), "3 captions for 4 images")


@pytest.mark.parametrize("names", [KEYS, FILES, ["./" + name for name in KEYS]])
@pytest.mark.parametrize("form", ["file", "file_name", "image", "csv"])
def test_named_captions_go_where_they_belong(tmp_path, names, form):
    rows = list(zip(names, TEXTS, strict=True))[::-1]
    if form == "csv":
        path = table(tmp_path / "c.csv", rows)
    else:
        text = "caption" if form == "file" else "text"
        path = jsonl(tmp_path / "c.jsonl", [{form: f, text: t, "id": 1} for f, t in rows])
    assert captions.read(path, KEYS) == TEXTS


def test_captions_that_name_no_file_go_by_position(tmp_path):
    path = jsonl(tmp_path / "c.jsonl", [{"caption": text} for text in TEXTS])
    assert captions.read(path, KEYS) == captions.read(path, None, 3) == TEXTS
    refused(lambda: captions.read(path, KEYS[:1]), "3 captions for 1 image;")
    path = jsonl(path, [{"file": "a", "caption": "b"}, {"caption": "c"}])
    refused(lambda: captions.read(path, KEYS), "line 2 names no file")
    path = jsonl(path, [{"file": "a", "caption": "b"}])
    refused(lambda: captions.read(path, None, 1), "these images have no names")


def test_captions_that_do_not_fit_the_images(tmp_path):
    rows = [{"file": file, "text": text} for file, text in zip(FILES, TEXTS, strict=True)]
    path = tmp_path / "c.jsonl"
    refused(lambda: captions.read(jsonl(path, rows[1:]), KEYS), "no caption for 1 of 3", "a/1")
    more = [*rows, {"file": "c/4.png", "text": "x"}, {"file": "1.png", "text": "x"}]
    refused(
        lambda: captions.read(jsonl(path, more), KEYS), "2 captions for images", "c/4.png, 1.png"
    )
    twice = [*rows, {"file": "a/1.jpg", "text": "x"}]
    refused(lambda: captions.read(jsonl(path, twice), KEYS), "1 image with a second", "a/1.jpg")


@pytest.mark.parametrize("caption", ["", "  ", None])
def test_empty_captions_are_refused(tmp_path, caption):
    rows = [{"file": FILES[0], "text": caption}, {"file": FILES[1], "text": "x"}]
    refused(lambda: captions.read(jsonl(tmp_path / "c.jsonl", rows), KEYS), "1 empty", "line 1")
    text = tmp_path / "c.txt"
    text.write_text(f"one\n{caption or ''}\nthree\n")
    refused(lambda: captions.read(text, KEYS), "1 empty caption: line 2")
    refused(
        lambda: captions.read(table(tmp_path / "c.csv", [("a/1", caption or "")]), KEYS), "line 2"
    )


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("c.jsonl", b'{"text": 1}', ["line 1", "must be text"]),
        ("c.jsonl", b'{"file": "a"}', ["line 1 holds file", "caption or text"]),
        ("c.jsonl", b'["a"]', ["line 1 is no object"]),
        ("c.jsonl", b'{"text": "a"}\n{oops', ["line 2 is no JSON"]),
        ("c.csv", b"name,words\na,b\n", ["line 1 holds name, words"]),
        ("c.csv", b'file,text\na,"b\nc,d\n', ["what begins in line 2 is no row"]),
        ("c.csv", b'file,text\na,b\nc,"d"e\n', ["what begins in line 3 is no row"]),
        ("c.csv", b'file,text\na,"b' + b"\nc" * 200_000, ["what begins in line 2", "every quote"]),
        ("c.csv", b"file,text\na,red, round\n", ["line 2 has 3 columns", "in quotes"]),
        ("c.csv", b'"fi\nle",words\na,b\n', ["line 1 holds fi le, words"]),
        ("c.csv", b"file,text\na\n", ["line 2 has 1 columns and the first line 2"]),
        ("c.csv", b"file,text,text\na,b,c\n", ["has text more than once"]),
        ("c.jsonl", b"[" * 100_000, ["line 1 is no JSON (it is nested too deeply)"]),
        ("c.jsonl", b'{"' + b"x" * 9000 + b'": 1}', ["line 1 holds xxx", "x…; it needs"]),
        ("c.txt", "Größe".encode("latin-1"), ["not UTF-8"]),
        ("c.txt", b"", ["0 captions for 3 images"]),
        ("c.yaml", b"a: b", [".yaml is not known", ".txt"]),
    ],
)
def test_files_that_hold_no_captions(tmp_path, name, content, parts):
    (tmp_path / name).write_bytes(content)
    refused(lambda: captions.read(tmp_path / name, KEYS), str(tmp_path / name), *parts)
    refused(lambda: captions.read(tmp_path / "none.txt", KEYS), "No such file")


def test_captions_that_are_no_file(tmp_path):
    folder, pipe = tmp_path / "c.txt", tmp_path / "p.txt"
    folder.mkdir()
    os.mkfifo(pipe)
    refused(lambda: captions.read(folder, KEYS), "cannot be read: it is a folder, not a file")
    refused(lambda: captions.read(pipe, KEYS), "cannot be read: it is a pipe, not a file")
    large = tmp_path / "l.csv"
    with large.open("wb") as file:
        file.truncate(5 << 30)
    refused(lambda: captions.read(large, KEYS), "5,368,709,120 bytes")


# --- pairs ---------------------------------------------------------------------------------------


def folder(path, names):
    for i, name in enumerate(names):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (i, 90, 0)).save(path / name)
    return open_source(path)


def test_pairs_go_by_name(tmp_path):
    made = folder(tmp_path / "made", ["a.png", "a-1.jpg", "c/b.png"])
    real = folder(tmp_path / "real", ["a.bmp", "a-1.tif", "c/b.jpg"])
    assert [real.keys[i] for i in pairs(made, real)] == list(made.keys)
    mixed = folder(tmp_path / "mixed", ["a-1.webp", "a.bmp", "c/b.jpg"])
    order = pairs(mixed, made)
    assert [made.keys[i] for i in order] == list(mixed.keys)
    made.keys, real.keys = ("x", "y", "z"), ("z", "x", "y")
    assert pairs(made, real).tolist() == [1, 2, 0]


def test_pairs_without_names_go_by_position(tmp_path):
    named = folder(tmp_path / "a", ["1.png", "2.png", "3.png"])
    array = from_tensors(np.full((3, 3, 4, 4), 9, np.uint8), name="array")
    for sides in ((named, array), (array, named), (array, array)):
        assert pairs(*sides).tolist() == [0, 1, 2]
    short = from_tensors(np.full((2, 3, 4, 4), 9, np.uint8), name="short")
    refused(lambda: pairs(named, short), "a has 3 images and short has 2", "same order")


def test_images_without_a_partner_are_told(tmp_path):
    made = folder(tmp_path / "made", [f"{i}.png" for i in range(6)])
    real = folder(tmp_path / "real", ["0.png", "9.png"])
    refused(
        lambda: pairs(made, real),
        "5 of 6 images of made are not in real (1, 2, 3, ...)",
        "1 of 2 images of real are not in made (9)",
    )
    real = folder(tmp_path / "part", ["0.png"])
    refused(lambda: pairs(real, made), "5 of 6 images of made are not in part")
