"""Image files as a source: checked by their headers, decoded ahead in threads."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from genbench.data.dataset import Note
from genbench.data.resize import RULE, resize
from genbench.images import (
    Alpha,
    BrokenImage,
    Header,
    Levels,
    UnfitImage,
    decode,
    few,
    header,
    natural,
    notes_on,
    refuse,
    shown,
    warnings_on,
)
from genbench.inputs.ahead import ahead
from genbench.inputs.containers import Container, key_of
from genbench.inputs.source import Batch
from genbench.inputs.watch import Watch, plain_warnings
from genbench.spec import ConfigError

__all__ = ["Files"]

_NAMED = 5  # sizes that a message names, of as many as there are
_WAY = "replace them, or leave them out with on_error=skip"
_CHUNK = 16  # files that a thread takes at a time

Problem = BrokenImage | UnfitImage
Read = Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    sha256: str
    header: Header


class Files:
    """The images of a folder or of an archive, in the order of their names; see `Source`.

    The constructor reads every file once, for its digest and its header. Images are grey (C = 1)
    only if every file is, else RGB.

    Args:
        container: Where they lie.
        size: Crop and scale every image to this height and width by `genbench.data.resize.RULE`;
            None to keep them, which then must be of one size.
        skip: Leave out files that cannot be read. The constructor then decodes all of them.
        alpha: What becomes of transparent pixels, see `images.decode`.

    Raises:
        ConfigError: For files that cannot be read (all of them are named in one message), that
            have more than 8 bits for a channel, or several sizes.
    """

    lossy: bool
    dataset = ""

    def __init__(
        self,
        container: Container,
        size: int | None = None,
        skip: bool = False,
        alpha: Alpha = "refuse",
    ) -> None:
        self._container, self._size, self._alpha = container, size, alpha
        self.name = shown(container.path.resolve().name)
        self.notes: dict[str, Note] = {}
        self.warnings: list[str] = []
        self._files, problems = self._inspect(container.names, whole=skip)
        if not skip and any(isinstance(problem, BrokenImage) for _, problem in problems):
            names = [file.name for file in self._files]  # to name those cut short as well
            problems = sorted(
                problems + self._inspect(names, whole=True)[1], key=lambda p: natural(p[0])
            )
        if skip:
            problems = self._skipped(problems)
        self._refuse(problems)
        headers = [file.header for file in self._files]
        self._check_sizes()
        self._check_levels()
        self.n = len(headers)
        self.keys: tuple[str, ...] | None = tuple(key_of(file.name) for file in self._files)
        self.lossy = any(head.lossy for head in headers)
        self._mode = "L" if all(head.grey for head in headers) else "RGB"
        self.digest = self._digest()
        self._tell()

    # --- what the files say of themselves --------------------------------------------------------

    def _inspect(
        self, names: Sequence[str], whole: bool
    ) -> tuple[list[_File], list[tuple[str, Problem]]]:
        """Digests and headers of the good files, and what is wrong with the others."""
        files: list[_File] = []
        problems: list[tuple[str, Problem]] = []
        with self._container.opened() as read:
            work = partial(_each, partial(_examine, read, self._alpha, whole))
            for results in ahead(_chunks(names, _CHUNK), work):
                for name, result in results:
                    if isinstance(result, _File):
                        files.append(result)
                    else:
                        problems.append((name, result))
        return files, problems

    def _skipped(self, problems: list[tuple[str, Problem]]) -> list[tuple[str, Problem]]:
        """Note the files that cannot be read; gives the problems that remain."""
        broken = [shown(name) for name, p in problems if isinstance(p, BrokenImage)]
        if not self._files and len(broken) == len(problems):
            raise ConfigError(
                f"{self._container.path}: none of its {len(broken)} images can be read "
                f"(first: {broken[0]}); make them again"
            )
        if broken:
            total = len(self._container.names)
            self.notes["skipped"] = ", ".join(broken)
            self.warnings.append(
                f"{len(broken)} of {total} files cannot be read and were left out: "
                f"{few(broken)}; {total - len(broken)} images are scored"
            )
        return [(name, p) for name, p in problems if isinstance(p, UnfitImage)]

    def _refuse(self, problems: Sequence[tuple[str, Problem]]) -> None:
        """Raise one error that names all problems, if there are any."""
        named = [(shown(name), problem) for name, problem in problems]
        refuse(str(self._container.path), len(self._container.names), named, _WAY)

    def _check_levels(self) -> None:
        """Refuse floats that were cast; as a rule the first image tells that they are none."""
        levels = Levels()
        with self._container.opened() as read:
            for file in self._files:
                try:
                    levels.see(np.asarray(decode(read(file.name), self._alpha)))
                except (BrokenImage, UnfitImage):
                    return  # told, with all others, when images are read
                if levels.plausible:
                    return
        levels.check(str(self._container.path))

    def _check_sizes(self) -> None:
        if self._size is not None:
            return
        sizes = Counter(file.header.size for file in self._files)
        if len(sizes) == 1:
            return
        first = {file.header.size: file.name for file in reversed(self._files)}
        seen = [
            f"{w}x{h} ({count}, e.g. {shown(first[w, h])})"
            for (w, h), count in sizes.most_common(_NAMED)
        ]
        more = f" and {len(sizes) - _NAMED} more" if len(sizes) > _NAMED else ""
        raise ConfigError(
            f"{self._container.path} holds images of {len(sizes)} sizes: {', '.join(seen)}{more}; "
            f"choose one with resize=SIZE ({RULE})"
        )

    def _digest(self) -> str:
        """sha256 over names and bytes of the files, and over what else makes their pixels."""
        digest = hashlib.sha256()
        for file in self._files:
            digest.update(f"{file.name}\0{file.sha256}\n".encode("utf-8", "surrogateescape"))
        if self._size is not None:
            digest.update(f"resize {self._size}\n".encode())
        if self._alpha in ("white", "black") and any(f.header.alpha for f in self._files):
            digest.update(f"alpha {self._alpha}\n".encode())
        if any(file.header.turned for file in self._files):
            digest.update(b"turned\n")
        return digest.hexdigest()

    def _tell(self) -> None:
        """Notes and warnings that the headers give rise to."""
        if self._size is not None:
            self.notes["resize"] = f"{RULE} to {self._size}"
        names, headers = [shown(f.name) for f in self._files], [f.header for f in self._files]
        self.notes |= notes_on(headers, self._alpha)
        others = [shown(name) for name in self._container.others]
        self.warnings += warnings_on(names, headers, others).values()
        self.warnings += self._container.warnings
        self.warnings += plain_warnings(self.n, self._channels)

    # --- pixels ----------------------------------------------------------------------------------

    @property
    def _channels(self) -> int:
        return 1 if self._mode == "L" else 3

    def batches(self, size: int) -> Iterator[Batch]:
        """All images in order; files are decoded while the caller works, two batches ahead.

        Raises:
            ConfigError: For files that cannot be decoded or that are transparent, at the first of
                them but with the names of all.
        """
        import torch

        if size < 1:
            raise ValueError(f"batches have at least 1 image, not {size}")
        watch = Watch()
        problems: list[tuple[str, Problem]] = []
        parts: list[NDArray[np.uint8]] = []
        start = waiting = 0
        chunk = min(size, _CHUNK)
        for part, bad in self._decoded(size, chunk, 2 * -(-size // chunk)):
            problems += bad
            if problems:
                continue  # nothing more is handed out, but every bad file is to be named
            parts.append(part)
            waiting += len(part)
            if waiting < size and start + waiting < self.n:
                continue
            images = parts[0] if len(parts) == 1 else np.concatenate(parts)
            watch.see(images)
            yield Batch(np.arange(start, start + waiting), torch.from_numpy(images))
            start, waiting, parts = start + waiting, 0, []
        self._refuse(problems)
        found = watch.warnings(lambda i: shown(self._files[i].name))
        self.warnings += [warning for warning in found if warning not in self.warnings]

    def _decoded(
        self, size: int, chunk: int, most: int
    ) -> Iterator[tuple[NDArray[np.uint8], list[tuple[str, Problem]]]]:
        """Chunks that never cross a batch of `size`, and what is wrong with files of each."""
        batches = _chunks(self._files, size)
        chunks = (part for batch in batches for part in _chunks(batch, chunk))
        with self._container.opened() as read:
            yield from ahead(chunks, partial(self._decode, read), most)

    def _decode(
        self, read: Read, files: Sequence[_File]
    ) -> tuple[NDArray[np.uint8], list[tuple[str, Problem]]]:
        width, height = files[0].header.size
        if self._size is not None:
            width = height = self._size
        out = np.empty((len(files), self._channels, height, width), np.uint8)
        problems: list[tuple[str, Problem]] = []
        for into, file in zip(out, files, strict=True):
            try:
                into[...] = self._pixels(read(file.name), file)
            except (BrokenImage, UnfitImage) as problem:
                problems.append((file.name, problem))
        return out, problems

    def _pixels(self, data: bytes, file: _File) -> NDArray[np.uint8]:
        """One image, (C, H, W)."""
        image = decode(data, self._alpha)
        if image.size != file.header.size:
            raise BrokenImage("its size changed since it was first read")
        if image.mode != self._mode:
            image = image.convert(self._mode)
        array = np.asarray(image if self._size is None else resize(image, self._size))
        return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


Item = TypeVar("Item")
Result = TypeVar("Result")


def _chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _each(
    work: Callable[[str], Result], names: Iterable[str]
) -> list[tuple[str, Result | Problem]]:
    found: list[tuple[str, Result | Problem]] = []
    for name in names:
        try:
            found.append((name, work(name)))
        except (BrokenImage, UnfitImage) as problem:
            found.append((name, problem))
    return found


def _examine(read: Read, alpha: Alpha, whole: bool, name: str) -> _File:
    data = read(name)
    head = header(data)
    if whole:
        decode(data, alpha)
    return _File(name, hashlib.sha256(data).hexdigest(), head)
