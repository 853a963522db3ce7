"""What each deployment takes, written into docs/service.md from prefect.yaml and the flows' forms.

python -m benchmarks.forms
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    # also when run by its path
    sys.path.insert(0, str(ROOT))

from flows.serving.submission import told_schema  # noqa: E402
from schemas.reading import parse  # noqa: E402

PAGE = ROOT / "docs" / "service.md"
START, END = "<!-- forms: start -->", "<!-- forms: end -->"


def forms() -> str:
    """A section for each deployment."""
    path = ROOT / "prefect.yaml"
    deployments = parse(path.read_text(), str(path)).value["deployments"]
    return "\n\n".join(_section(one) for one in deployments)


def _section(deployment: dict[str, Any]) -> str:
    module, _, name = deployment["entrypoint"].rpartition(".")
    schema = getattr(import_module(module), name).parameters.model_dump_for_openapi()
    schedules = [f"`{one['cron']}` {one.get('timezone', '')}" for one in deployment.get("schedules", [])]
    about = f"Tags: {', '.join(deployment['tags'])}."
    about += f" Schedule: {', '.join(schedules)}." if schedules else ""
    rows = [
        _row(key, one, deployment.get("parameters", {}), key in schema.get("required", []))
        for key, one in schema["properties"].items()
    ]
    head = "| parameter | takes | deployed with | meaning |\n|---|---|---|---|"
    title = f"### {deployment['name']}"
    return "\n\n".join((title, deployment["description"].strip(), about, "\n".join((head, *rows))))


def _row(key: str, about: dict[str, Any], deployed: dict[str, Any], required: bool) -> str:
    value = deployed.get(key, "to be said" if required else about.get("default"))
    value = "" if value is None else f"`{value}`"
    cells = (f"`{key}`", told_schema(about), value, about["description"])
    return "| " + " | ".join(" ".join(str(cell).replace("|", "\\|").split()) for cell in cells) + " |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the sections between their markers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--docs", type=Path, default=PAGE, help="page with the markers")
    page = parser.parse_args(arguments).docs
    before, rest = page.read_text().split(START)
    page.write_text(f"{before}{START}\n\n{forms()}\n\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
