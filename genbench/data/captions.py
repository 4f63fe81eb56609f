"""Images with captions, as Hugging Face's imagefolder lays them out."""

from pathlib import Path
from reprlib import repr as short  # what a file says may be of any length

from genbench.data import files, json_lines, listing, words
from genbench.data.contents import Contents
from genbench.data.dataset import Annotation, Note
from genbench.spec import ConfigError

__all__ = ["TEXTS", "read"]

TEXTS = ("metadata.jsonl", "captions.jsonl")
_EXAMPLE = '{"file_name": "0001.png", "text": "a red circle"}'


def read(folder: Path, split: str, size: int | None) -> Contents:
    """A split of a folder of images with captions, which are the annotation `tokens`.

    `metadata.jsonl` or `captions.jsonl`, in the folder or in those of the splits, holds lines
    `{"file_name": ..., "text": ...}`. Of several captions of an image the first one counts. The
    vocabulary is all words of both splits, so that it is the same for both; see `words`.

    Source: https://huggingface.co/docs/datasets/image_dataset, "ImageFolder".

    Raises:
        ConfigError: A line that is broken, lacks a key or names no image, an empty text, an image
            without a caption, and all that `listing.read` refuses.
    """
    listed = listing.read("captions", folder)
    texts = _texts(listed)
    first = [texts[picture.relative][0] for picture in listed.of(split)]
    every = [text for of_image in texts.values() for text in of_image]
    vocabulary = words.vocabulary(every)
    length = max(len(words.split(text)) for text in every)
    tokens = words.encode(first, vocabulary, length)
    notes: dict[str, Note] = listed.notes() | {
        "caption_rule": f"the first of each image; {len(every)} in all",
        "vocabulary": f"{len(vocabulary) - 1} words of both splits, at most {length} in a caption",
    }
    known = {"tokens": Annotation(lambda: tokens, vocabulary)}
    images, told = files.read_images(listed, split, size)
    return Contents(images, None, (), notes | told, known)


def _texts(listed: listing.Listing) -> dict[str, list[str]]:
    """The captions of every image of both splits, in the order of the file."""
    texts: dict[str, list[str]] = {picture.relative: [] for picture in listed.used}
    for line in json_lines.read(listed, TEXTS, _EXAMPLE):
        text = line.get("text")
        if not isinstance(text, str) or not words.split(text):
            raise line.refuse(f"text is {short(text)}; write a caption with a word at least")
        texts[line.picture.relative].append(text)
    if lacking := [name for name, found in texts.items() if not found]:
        raise ConfigError(
            f"captions: {listed.folder / lacking[0]} has no caption ({len(lacking)} in all); add "
            "a line for it, or take the image out"
        )
    return texts
