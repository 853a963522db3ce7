"""The command that makes a model ready to be given away."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flows.commands.app import RunPath, app, out
from storage.files.place import local


@app.command("export")
def export_command(
    run: RunPath,
    folder: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", parser=local, help="Where the folder is to be.")
    ],
    onnx: Annotated[bool, typer.Option("--onnx/--no-onnx", help="Put the network into ONNX as well.")] = True,
    licence: Annotated[
        str | None, typer.Option("--licence", metavar="TEXT", help="Under which licence you give it away.")
    ] = None,
) -> None:
    """Put a trained model into a folder of its own: weights, record, model card, ONNX file.

    Example: `lensmill export runs/classify_tiny --out exported`
    """
    from flows.extras import need_training

    need_training()
    from train.release import export

    card = export(run, folder, onnx, licence)
    if card.onnx is not None and card.onnx.largest_difference is not None:
        out.print(
            f"{card.onnx.file}: at most {card.onnx.largest_difference:.1g} from torch on"
            f" {card.onnx.checked_images} images ({card.onnx.checked_on})",
            soft_wrap=True,
            highlight=False,
        )
    for told in card.remarks:
        out.print(escape(told), soft_wrap=True, highlight=False)
    out.print(f"{folder}: read {folder / 'card.md'} before you give it away", soft_wrap=True)
