"""What is asked for, checked: recipe, plan and place of a store. Nothing is started or written here.

Nor is Prefect loaded, which takes seconds: bad input is told at once.
"""

from collections.abc import Sequence
from importlib.metadata import version

from flows.catalogue import AnyRecipe, load_recipe
from flows.galaxies import galaxies_of
from flows.shards import Order
from schemas.dataset import DatasetRecipe
from schemas.errors import RecipeError
from schemas.store import Provenance, plan_store
from simulate.galaxies import check_light
from simulate.render import subhalos_per_sample, through_lenstronomy
from storage import layout, target
from storage.files.place import Root, place
from storage.formats import BACKENDS


def prepare(recipe: AnyRecipe, out: str | Root, shard_size: int | None, overrides: Sequence[str]) -> Order:
    """Read the recipe, plan the store and check that it can be made there. Writes nothing."""
    if shard_size is not None and (shard_size < 1 or shard_size & (shard_size - 1)):
        raise RecipeError(f"a shard of {shard_size} images", expected="a power of two", where="--shard-size")
    asked = [] if shard_size is None else [f"storage.shard_images={shard_size}"]
    loaded = load_recipe(recipe, [*overrides, *asked])
    image_bytes = 4 * loaded.channels * loaded.detector.num_pix**2
    shard_rows = loaded.storage.shard_images or layout.default_shard_rows(image_bytes)
    planned = plan_store(loaded, layout.split_rows(loaded), shard_rows, provenance(loaded))
    plan = target.plan_there(place(out), planned)
    galaxies = galaxies_of(loaded)
    if galaxies is not None:
        check_light(loaded, galaxies)
    order = Order(place(out), loaded, plan)
    target.check_target(order.root, loaded, plan)
    if not target.is_complete(order.root, plan):
        target.check_versions(order.root, plan, planned.provenance.versions)
        subhalos = subhalos_per_sample(loaded) if plan.catalogue else 0.0
        needed = layout.store_bytes(plan, subhalos) - target.bytes_present(order.root)
        target.check_space(order.root, needed, "free space, choose another --out, or lower samples_per_class")
    return order


def provenance(recipe: DatasetRecipe) -> Provenance:
    """Engine and the versions that decide about bytes."""
    packages = ["lensmill", "lenstronomy", "numba", "numpy"]
    if "subhalos" in recipe.products:
        packages.append("pyarrow")
    packages += BACKENDS[recipe.storage.backend].packages(recipe.storage.profile)
    return Provenance(
        engine=recipe.engine,
        through_lenstronomy=through_lenstronomy(recipe),
        versions={name: version(name) for name in packages},
    )
