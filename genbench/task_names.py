"""Which kinds of tasks there are and how they are written; loads no torch.

A task is `KIND` or `KIND:ARGUMENT`: "caption", "paired:outline", "to_domain:day,night".
"""

from dataclasses import dataclass

from genbench.spec import ConfigError, nearest

__all__ = ["FORMS", "Form", "describe", "parse"]


@dataclass(frozen=True)
class Form:
    """How a kind of task is written.

    Attributes:
        about: What a model of such a task is given, in one line.
        argument: What stands after the colon, "" for nothing.
        needed: Whether it may not be left out.
    """

    about: str
    argument: str = ""
    needed: bool = False


FORMS = {
    "unconditional": Form("nothing: any image of the data will do"),
    "class_label": Form("a class, or whether an attribute holds", "ATTRIBUTE"),
    "caption": Form("a text (text to image)"),
    "paired": Form(
        "an aligned picture: outline, grey, label_map, a style, or what the dataset pairs",
        "SOURCE",
    ),
    "to_domain": Form(
        "an image of another domain, learned without pairs; `masks` adds its instances",
        "DOMAIN,DOMAIN",
    ),
    "layout": Form("boxes and classes of objects"),
    "low_res": Form(
        "the image reduced by a whole factor, each pixel the mean of a block", "FACTOR", True
    ),
    "edit": Form("an image and how much of an edit, in [0, 1]", "EDIT", True),
}


def describe() -> dict[str, str]:
    """One line on each kind of task, by its form."""
    lines = {}
    for name, form in FORMS.items():
        after = f":{form.argument}" if form.argument else ""
        lines[name + (after if form.needed or not after else f"[{after}]")] = form.about
    return lines


def parse(name: str) -> tuple[str, str]:
    """Kind and argument, "" without one.

    Raises:
        ConfigError: For an unknown kind, with the nearest one, or an argument that is missing or
            not wanted.
    """
    kind, colon, argument = name.partition(":")
    if kind not in FORMS:
        raise ConfigError(f"unknown task {name!r}; {nearest(kind, FORMS)}")
    form = FORMS[kind]
    if colon and not (form.argument and argument):
        write = f"{kind}:{form.argument}" if form.argument else kind
        raise ConfigError(f"task {name!r} has an argument that does not fit; write {write}")
    if form.needed and not argument:
        raise ConfigError(f"task {name!r} needs an argument; write {kind}:{form.argument}")
    return kind, argument
