"""A hook of mkdocs: what there is one file each of enters the navigation by itself, so that a new file is all it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def on_config(config: Any) -> None:
    """Add the page of every lab and every decision under its title, in the order of their files' names."""
    folder = Path(config.docs_dir)
    config.nav.append({"The labs that ship": [{"All of them": "labs/index.md"}, *titled(folder, "labs")]})
    config.nav.append({"Decisions": titled(folder, "decisions")})


def titled(folder: Path, below: str) -> list[dict[str, str]]:
    return [
        {path.read_text("utf-8").partition("\n")[0].lstrip("# "): f"{below}/{path.name}"}
        for path in sorted((folder / below).glob("*.md"))
        if path.name != "index.md"
    ]
