"""Where the data of a store come from and what is known of their state, as lines for people."""

import json
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from schemas.imported import ImportedData, Origin
from schemas.page import Fact, Soundness
from schemas.products import MAPS
from schemas.store import ArraySpec, Provenance
from storage.files.place import Root
from storage.layout import shard_count
from storage.page.numbers import spell, spell_bytes
from storage.reader import Store
from storage.upkeep.verification import is_of_this_seal, last_record

FAMILIES = {
    "replica": "replica: a published simulator, constant for constant. Everything but a few parameters is"
    " fixed, so scores are higher than on real lenses",
    "survey": "survey: drawn from broad priors, for science",
    "imported": "imported: other people's images, which were not simulated here",
}
# Of a recipe's lists, such as the pixels of a PSF or the numbers of its galaxies, and of the whole text.
LISTED, RECIPE_CHARACTERS = 12, 60_000
DATE = "%-d %B %Y, %H:%M UTC"


def cards(store: Store) -> tuple[Fact, ...]:
    """Numbers to be seen first."""
    plan = store.plan
    channels, height, width = plan.array("image").tail
    images = sum(split.rows for split in plan.splits)
    size = sum(one.size for receipt in store.manifest.receipts for one in receipt.files)
    bands = (Fact(name=", ".join(store.origin.band_names) or "in each image", text=f"{channels} bands"),)
    return (
        Fact(name=f"images in {_count(len(plan.classes), 'class', 'es')}", text=f"{images:,}"),
        *_lengths(store, height, width),
        *(bands if channels > 1 else ()),
        Fact(name="parameters of each image", text=str(len(plan.columns))),
        Fact(name=f"in {_count(shard_count(plan), 'shard', 's')}", text=spell_bytes(size)),
    )


def _lengths(store: Store, height: int, width: int) -> tuple[Fact, ...]:
    step, pixels = store.pixel_scale_arcsec, f"{height} × {width}"
    if step is None:
        return (Fact(name="pixels of unknown size", text=pixels),)
    side = Fact(name="side of the field", text=f"{spell(step * width)} arcsec")
    return Fact(name=f"pixels of {spell(step)} arcsec", text=pixels), side


def _count(number: int, noun: str, plural: str) -> str:
    return f"{number:,} {noun}{plural if number != 1 else ''}"


def facts(store: Store) -> tuple[Fact, ...]:
    """Provenance: recipe, seed, digests, engine, versions, format."""
    plan, origin = store.plan, store.origin
    made_by = plan.provenance
    found = {
        "name" if isinstance(origin, ImportedData) else "recipe": origin.name,
        "family": FAMILIES[origin.family],
        "description": " ".join(origin.description.split()),
        **_source(origin),
        "digest": store.stored.digest,
        "engine": made_by.engine,
        "left to lenstronomy": ", ".join(made_by.through_lenstronomy),
        "versions": ", ".join(f"{name} {number}" for name, number in made_by.versions.items()),
        "format": f"{plan.backend}, {plan.profile}, up to {plan.shard_rows:,} images a shard",
        **_conversions(made_by),
        **_further(
            made_by.model_dump(
                mode="json", exclude={"engine", "through_lenstronomy", "versions", "conversions"}
            )
        ),
    }
    return tuple(Fact(name=name, text=text) for name, text in found.items() if text)


def _source(origin: Origin) -> dict[str, str]:
    """What the images are drawn from, or where they were."""
    if not isinstance(origin, ImportedData):
        return {"seed": str(origin.seed)}
    drawn = "splits as in the source" if origin.splits is None else "splits drawn"
    files = f"{_count(origin.files, 'file', 's')} ({origin.form.replace('_', ' ')})"
    return {
        "imported from": f"{files}, {origin.source}",
        "SHA-256 of the source": origin.contents_sha256,
        "order": f"shuffled by seed {origin.shuffle_seed}, {drawn}",
    }


def _conversions(made_by: Provenance) -> dict[str, str]:
    """From the store that was made first to this one."""
    said = [
        f"from {one.backend}, {one.profile} (manifest {one.manifest_sha256[:12]}),"
        f" {'through quantised values' if one.lossy else 'values bit by bit'},"
        f" by {', '.join(f'{name} {number}' for name, number in one.versions.items())}"
        for one in made_by.conversions
    ]
    return {"converted": "; then ".join(said)}


def _further(record: dict[str, Any]) -> dict[str, str]:
    """What else a store says of its making."""
    return {
        name.replace("_", " "): value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in record.items()
        if value
    }


def arrays(store: Store) -> tuple[Fact, ...]:
    """What is stored of each sample beside label, number and parameters."""
    found = [
        Fact(name=spec.name, text=f"{_meaning(store, spec)} ({_shape(store, spec)})")
        for spec in store.plan.maps
    ]
    if store.plan.catalogue:
        columns = ", ".join(column.name for column in store.plan.catalogue)
        found.append(Fact(name="subhalos", text=f"a table of all point masses, halos and lines: {columns}"))
    return tuple(found)


def _meaning(store: Store, spec: ArraySpec) -> str:
    if spec.name in MAPS:
        one = MAPS[spec.name]
        return one.description + (f", {one.unit}" if one.unit not in ("1", "as image") else "")
    bands = ", ".join(store.origin.band_names)
    return f"the images, in the bands {bands}" if len(store.origin.band_names) > 1 else "the images"


def _shape(store: Store, spec: ArraySpec) -> str:
    codes = " codes with a scale of each sample" if store.plan.is_quantised(spec.name) else ""
    return f"{' × '.join(map(str, spec.tail))}, {spec.dtype}{codes}"


def recipe_text(store: Store) -> str:
    """The recipe, or what is known of imported data, as JSON for people."""
    text = json.dumps(_shortened(store.origin.model_dump(mode="json")), indent=2, ensure_ascii=False)
    if len(text) > RECIPE_CHARACTERS:
        text = text[:RECIPE_CHARACTERS] + "\n... the whole of it is in lensmill/recipe.json"
    return text


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shortened(one) for name, one in value.items()}
    if isinstance(value, list):
        more = [f"... and {len(value) - LISTED:,} more"] if len(value) > LISTED else []
        return [_shortened(one) for one in value[:LISTED]] + more
    return value


def soundness(root: Root) -> Soundness:
    """What the last `lensmill verify` found, if it was of the store as it is sealed now."""
    kept = last_record(root)
    if kept is None:
        return Soundness(
            state="unknown",
            headline="not verified",
            text="Nobody has compared its bytes with their checksums since it was sealed, or the result could"
            " not be kept. The sizes of all files are right.",
        )
    when = f"{kept.time.astimezone(UTC).strftime(DATE)}, by lensmill {kept.lensmill}"
    day = kept.time.astimezone(UTC).strftime("%-d %B %Y")
    if not is_of_this_seal(root, kept):
        return Soundness(
            state="outdated",
            headline="verified before it was last sealed",
            text=f"It was verified on {when}. It was sealed anew since then, with other content.",
        )
    if not kept.sound:
        return Soundness(
            state="damaged",
            headline=f"found damaged on {day}",
            text=f"{_count(kept.faults, 'fault', 's')} found on {when}.",
            faults=kept.first_faults,
        )
    return Soundness(
        state="sound",
        headline=f"verified sound on {day}",
        text="Every byte was compared with its checksum and every row with the specification on"
        f" {when}. What became of the files since then is not known.",
    )


def made(root: Root) -> str:
    """By what and when the page was made."""
    when = datetime.now(UTC).strftime(DATE)
    return f"Made from {root.name} by lensmill {version('lensmill')} on {when}."
