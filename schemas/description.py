"""What a data set or an experiment says of itself, in a line."""


def purpose(description: str) -> str:
    """The first sentences of a description: its lines up to the first that ends one, as one line."""
    lines: list[str] = []
    for line in description.strip().split("\n"):
        if not line.strip():
            break
        lines.append(line.strip())
        if lines[-1][-1] in ".!?":
            break
    return " ".join(lines)
