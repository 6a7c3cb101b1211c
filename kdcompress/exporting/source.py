"""Where a bundle's comparison gets its inputs: the data that it was trained on, where they are, or others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdcompress import recipe as recipes
from kdcompress.bundle import Bundle
from kdcompress.errors import BundleError, InputError
from kdcompress.exporting.inputs import Inputs, made_up, of_data
from kdcompress.resolve import resolve
from kdcompress.start import load_data


def inputs_for(loaded: Bundle, section: Mapping[str, Any], where: str, *, asked: bool) -> Inputs:
    """Return what a bundle's files are compared on.

    Args:
        loaded: the detector.
        section: a recipe's ``data`` section; empty where nothing is known of the data.
        where: the bundle's file, for messages.
        asked: whether the user has said which data; else made-up inputs serve where they are not on this machine.

    Raises:
        InputError: where data that were asked for are not there or do not fit the detector.
    """
    known = {"name": loaded.manifest.architecture, **loaded.manifest.options}
    shape = loaded.manifest.input_shape
    if not section.get("data"):
        return made_up(loaded.detector, shape)
    try:
        recipe = resolve(recipes.parse({"name": "parity", "student": known, **section}, where), where)
        data = load_data(recipe.data)
    except InputError:
        if asked:
            raise
        return made_up(loaded.detector, shape)
    if data.input_shape != shape:
        if asked:
            raise BundleError(f"{where}: takes input of shape {shape}, {data.name} has {data.input_shape}")
        return made_up(loaded.detector, shape)
    return of_data(data, data.name if data.normal_class is None else f"{data.name}, {data.normal_class}")
