"""Published Model IV tells its classes apart by the macro lens: an audit finds it; ours has one lens."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows import orders, shards
from flows.generate import Order
from schemas.audit import Audit
from schemas.errors import LeakError
from simulate.render import Rendered, render
from storage.audit import audit, gather, refuse_leaks
from storage.reader import open_store
from tests.galaxies import galaxies, settings

SMALL = (
    "instrument.num_pix=16",
    "samples_per_class=300",
    "splits={train: 1}",
    "classes.cdm.substructure.f_sub={kind: log_uniform, low: 0.0005, high: 0.001}",
)
# velocity dispersions of 260 +- 20 km/s before a source at redshift 2.5: theta_E goes as their square
OF_NO_SUB = (
    "shear={gamma1: 0, gamma2: 0}",
    "main_lens.theta_E={kind: normal, mean: 1.35, sigma: 0.21, low: 0.5, high: 2.2}",
)


def order_of(root: Path, *overrides: str) -> Order:
    return orders.prepare("model_iv", root, None, [*settings(galaxies()), *SMALL, *overrides])


def audited(order: Order, make_store: Callable[[Order], None]) -> Audit:
    make_store(order)
    return audit(gather(open_store(order.root)))


def leaks(found: Audit, *pair: str) -> set[str]:
    rows = [row for row in found.rows if row.verdict == "leak"]
    return {row.subject for row in rows if not pair or (row.first, row.second) == pair}


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Order:
    """A store whose class no_sub has another macro lens, which no recipe can say."""
    order = order_of(tmp_path / "published.zarr")
    other = order_of(tmp_path / "other.zarr", *OF_NO_SUB).recipe

    def mixed(recipe: Any, ids: Any, galaxies: Any) -> Rendered:
        made, apart = render(recipe, ids, galaxies), render(other, ids, galaxies)
        of_no_sub = made.label == 0
        image, params = made.image.copy(), made.params.copy()
        image[of_no_sub], params[of_no_sub] = apart.image[of_no_sub], apart.params[of_no_sub]
        return replace(made, image=image, params=params)

    monkeypatch.setattr(shards, "render", mixed)
    return order


def test_the_published_structure_is_flagged(published: Order, make_store: Callable[[Order], None]) -> None:
    found = audited(published, make_store)
    assert not found.passed
    for other in ("cdm", "vortex"):
        assert {"theta_E", "gamma1"} <= leaks(found, "no_sub", other)
    with pytest.raises(LeakError, match="theta_E"):
        refuse_leaks(found)
    # the lens shows in the image too, with no column at hand
    told = {row.subject: row.worst for row in found.rows if (row.first, row.second) == ("no_sub", "vortex")}
    assert told["radius"].found


def test_our_replica_has_one_macro_lens(tmp_path: Path, make_store: Callable[[Order], None]) -> None:
    found = audited(order_of(tmp_path / "ours.zarr"), make_store)
    columns = {row.subject for row in found.rows if row.kind in ("column", "together")}
    assert {"galaxy_index", "source_phi_G", "source_center_x"} <= columns
    assert not leaks(found) & columns
    assert {"theta_E", "gamma1"} <= set(found.constant)
