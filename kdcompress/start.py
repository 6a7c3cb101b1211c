"""What a run starts from, and what can be known of it before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from kdcompress import bundle, training
from kdcompress import recipe as recipes
from kdcompress.bundle import Bundle
from kdcompress.data import DATASETS
from kdcompress.data.one_class import OneClassData
from kdcompress.errors import BundleError, InputError, RecipeError
from kdcompress.planning import Planned, plan
from kdcompress.product import built
from kdcompress.recipe import Recipe, Ref
from kdcompress.resolve import admitted, resolve
from kdcompress.teachers import teacher_recipes
from kdcompress.types import Detector


@dataclass(frozen=True)
class Start:
    """What a run starts from.

    Attributes:
        recipe: with all of its options.
        given: the teacher's bundle, where the recipe names one.
        data: what it is about.
        where: the recipe's file, for messages.
    """

    recipe: Recipe
    given: Bundle | None
    data: OneClassData
    where: str

    @classmethod
    def of(cls, recipe: Recipe, where: str) -> Start:
        """Return what the run of a recipe as it was written starts from."""
        recipe, given = resolve_written(recipe, where)
        data = load_data(recipe.data)
        if given is not None:
            check_fits(given, data, f"{where}: teacher.bundle")
        return cls(recipe, given, data, where)

    @property
    def digest(self) -> str:
        """What its run is known by."""
        return recipes.digest(self.recipe, self.data.digest(), self.given.manifest.sha256 if self.given else "")

    def planned(self, digest: str = "") -> Planned:
        """Plan the run, which is known by the digest; what does not fit is said with the recipe's file."""
        try:
            return plan(self.recipe, digest, self.data, self.given)
        except BundleError:
            raise
        except InputError as error:
            raise RecipeError(self.where, [str(error)]) from error

    def check_teachers(self) -> None:
        """Plan the runs of its teachers, to find what does not fit."""
        for one in teacher_recipes(self.recipe):
            own = Start(resolve(one, self.where), None, self.data, self.where)
            try:
                plan(own.recipe, "", own.data, None)
            except InputError as error:
                said = f"teacher: in its own training, where it is the student: {error}"
                raise RecipeError(self.where, [said]) from error
            own.check_teachers()

    def check(self) -> None:
        """Plan the run and its teachers' own, to find what does not fit."""
        self.planned()
        self.check_teachers()


def check(recipe: Recipe, where: str) -> None:
    """Check a recipe as far as one can without training: options, sizes, and whether the two sides fit.

    Raises:
        InputError: with what is wrong, or that the data which decide about the rest are not there.
    """
    Start.of(recipe, where).check()


def untrained(recipe: Recipe, where: str) -> tuple[Detector, Tensor, float]:
    """Return the student that a recipe would train, with first weights of its own, a raw sample [1, ...], its width.

    Raises:
        InputError: with what is wrong.
    """
    start = Start.of(recipe, where)
    planned = start.planned()
    pair = training.untrained(planned.manifest, start.recipe.seed, start.data.train, None)
    return pair.detector, start.data.train[:1], planned.target.width


@dataclass(frozen=True)
class Identity:
    """What a run is known by: its digest, that of its teachers' runs, and its number of training samples."""

    digest: str
    teacher: str | None
    samples: int


def identity(recipe: Recipe, where: str, *, check: bool) -> Identity:
    """Return what the run of a recipe is known by.

    Args:
        recipe: as it was written.
        where: its file, for messages.
        check: also plan the run, to find what does not fit.

    Raises:
        InputError: with what is wrong.
    """
    start = Start.of(recipe, where)
    if check:
        start.check()
    data = start.data
    taught = [recipes.digest(resolve(own, where), data.digest(), "") for own in teacher_recipes(start.recipe)]
    return Identity(start.digest, "+".join(taught) or None, len(data.train))


def load_data(ref: Ref) -> OneClassData:
    """Load the data that a recipe names."""
    return built(DATASETS, OneClassData, ref.name, ref.options)


def resolve_written(recipe: Recipe, where: str) -> tuple[Recipe, Bundle | None]:
    """Return a recipe as written with all of its options, and the bundle of its teacher if it names one."""
    recipe = admitted(recipe, where)
    path = recipe.teacher.bundle if recipe.teacher is not None else None
    given = bundle.load(path) if path is not None else None
    known = Ref(name=given.manifest.architecture, **given.manifest.options) if given is not None else None
    return resolve(recipe, where, known), given


def check_fits(given: Bundle, data: OneClassData, where: str) -> None:
    """Check that a bundle takes what the data are.

    Raises:
        BundleError: where it does not.
    """
    if given.manifest.input_shape != data.input_shape:
        raise BundleError(
            f"{where}: takes input of shape {given.manifest.input_shape}, {data.name} has {data.input_shape}"
        )
