"""The sentences on image files that cannot be read or used, or of which a reader must know."""

from collections.abc import Sequence

from genbench.images.file import Alpha, BrokenImage, Header, UnfitImage
from genbench.spec import ConfigError
from genbench.text import clean

__all__ = ["few", "notes_on", "refuse", "warnings_on"]

_LONGEST = 300  # characters of a name and of what is wrong with it
_NAMED = 5  # files that a message names, of as many as there are


def few(names: Sequence[str]) -> str:
    """The first names of as many as there are, on one line of bounded length."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(clean(name, _LONGEST) for name in names[:_NAMED]) + more


def refuse(
    where: str, total: int, problems: Sequence[tuple[str, BrokenImage | UnfitImage]], way: str
) -> None:
    """Raise one error that names all problems, if there are any.

    Args:
        where: What the sentence begins with.
        total: Number of images, good ones too.
        problems: Names of files, with what is wrong.
        way: What to do about files that cannot be read.

    Raises:
        ConfigError: If there are problems.
    """
    parts = []
    broken = [f"{name} ({p})" for name, p in problems if isinstance(p, BrokenImage)]
    if broken:
        parts.append(f"{len(broken)} of {total} images cannot be read: {few(broken)}; {way}")
    unfit = [(name, p) for name, p in problems if isinstance(p, UnfitImage)]
    for remedy in dict.fromkeys(p.way for _, p in unfit):
        those = [f"{name} ({p})" for name, p in unfit if p.way == remedy]
        parts.append(f"{len(those)} of {total} images cannot be used: {few(those)}; {remedy}")
    if parts:
        raise ConfigError(f"{where}: {'; '.join(parts)}")


def notes_on(headers: Sequence[Header], alpha: Alpha = "refuse") -> dict[str, str]:
    """What was done to some of the images, for whoever reads a number of them."""
    notes: dict[str, str] = {}
    if with_alpha := sum(header.alpha for header in headers):
        done = {
            "refuse": "opaque everywhere, dropped",
            "drop": "dropped, the stored colours are used",
        }.get(alpha, f"composed over {alpha}")
        notes["alpha"] = f"{with_alpha} of {len(headers)} files have an alpha channel: {done}"
    if lossy := sum(header.lossy for header in headers):
        notes["lossy"] = f"{lossy} of {len(headers)} files are JPEG or lossy WebP"
    if cmyk := sum(header.cmyk for header in headers):
        notes["cmyk"] = f"{cmyk} of {len(headers)} files: converted to RGB without a profile"
    return notes


def warnings_on(
    names: Sequence[str], headers: Sequence[Header], others: Sequence[str] = ()
) -> dict[str, str]:
    """What a user hardly expects, a sentence each, by a short name.

    Args:
        names: Of the files.
        headers: Of the same files.
        others: Image files that are not read.
    """
    said: dict[str, str] = {}
    pairs = list(zip(names, headers, strict=True))
    if animated := [name for name, header in pairs if header.animated]:
        said["animated"] = (
            f"{len(animated)} of {len(names)} files hold several pictures, of which the first is "
            f"read (first: {animated[0]})"
        )
    if turned := [name for name, header in pairs if header.turned]:
        said["turned"] = (
            f"{len(turned)} of {len(names)} files ask by EXIF to be shown turned, and were turned "
            f"(first: {turned[0]})"
        )
    if others:
        said["left_out_files"] = (
            f"{len(others)} more images were left out, as their suffix is not one that is read: "
            f"{few(others)}; convert them to PNG, or rename them"
        )
    return said
