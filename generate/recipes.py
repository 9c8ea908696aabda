"""docs/applications.md: the recipes, as the applications of bench/frameworks have them."""

from __future__ import annotations

from pathlib import Path

from generate.text import between

ROOT = Path(__file__).resolve().parents[1]
FRAMEWORKS = ROOT / "bench" / "frameworks"
RECIPES = {
    "express/lame-duck.js": "js",
    "go/lameduck.go": "go",
    "python/lame_duck_gunicorn.py": "python",
    "python/lame_duck_asgi.py": "python",
    "spring/src/main/java/orders/LameDuck.java": "java",
}


def made(text: str) -> str:
    """`text` with each recipe's file in its place. Raises `LookupError` where it has none."""
    for name, language in RECIPES.items():
        source = (FRAMEWORKS / name).read_text(encoding="utf-8").expandtabs(4)
        text = between(text, f"recipe {name}", f"```{language}\n{source}```")
    return text
