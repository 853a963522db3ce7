"""`lensmill verify --all`: everything below a folder."""

from rich.markup import escape

from flows.commands.app import err, out
from flows.commands.tables import lined_up
from storage.files.place import Root


def verify_all(folder: Root, mend: bool, as_json: bool) -> None:
    """Print what was found of every store and run; damage is an error that names all of it."""
    from flows.verifying import headline, inspect, refuse_damage

    found = inspect(folder, mend)
    if as_json:
        out.print_json(found.model_dump_json())
    else:
        rows = [
            (one.path, one.state, f"{one.rows:,}" if one.rows else "", f"{one.bytes / 1e6:,.1f}")
            for one in found.checked
        ]
        if rows:
            out.print(lined_up(("path", "state", "images", "MB"), rows))
        for one in found.checked:
            if one.first and not one.bad:
                err.print(f"{escape(one.path)} is {one.state}: {escape(one.first)}", soft_wrap=True)
        out.print(escape(headline(found)), soft_wrap=True)
    refuse_damage(found)
