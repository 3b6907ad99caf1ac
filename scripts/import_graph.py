#!/usr/bin/env python
"""Prints the import graph of serl_ray: its rooms by rings, cycles, and imports that run outwards; `--output` draws it.

Rooms are the folders of the package and its loose modules. Imports inside functions and for type checkers count as
well.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections import Counter
from pathlib import Path

import networkx

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "serl_ray"
RINGS = {
    "ground": ("types", "utils", "files"),
    "core": ("networks", "agents"),
    "data": ("data", "envs", "classifier", "evaluation", "teleop"),
    "edge": ("options", "cluster", "rllib", "runs", "sweeps", "cli", "benchmarks", "__init__"),
}
"""The rooms of each ring, from the inside outwards; imports point inwards or stay in their ring."""
RING_OF = {room: number for number, rooms in enumerate(RINGS.values()) for room in rooms}
COLOURS = ("#d9ead3", "#cfe2f3", "#fff2cc", "#f4cccc")


def file_graph(root: Path = ROOT) -> networkx.DiGraph:
    """The graph of imports: nodes are dotted names, an edge leads from the importing module to the imported one."""
    files = {_name(path.relative_to(root)): path for path in (root / PACKAGE).rglob("*.py")}
    graph = networkx.DiGraph()
    graph.add_nodes_from(files)
    for name, path in files.items():
        for imported in _imported(ast.parse(path.read_text()), files, name):
            if imported != name:
                graph.add_edge(name, imported)
    return graph


def room_graph(files: networkx.DiGraph) -> networkx.DiGraph:
    """The same between rooms, with the number of importing pairs of modules as weights."""
    weights = Counter((room(importer), room(imported)) for importer, imported in files.edges)
    graph = networkx.DiGraph()
    graph.add_nodes_from({room(name) for name in files})
    graph.add_weighted_edges_from((*pair, count) for pair, count in weights.items() if pair[0] != pair[1])
    return graph


def cycles(graph: networkx.DiGraph) -> list[list[str]]:
    """The groups of nodes that import one another in a circle."""
    return sorted(sorted(group) for group in networkx.strongly_connected_components(graph) if len(group) > 1)


def outward(rooms: networkx.DiGraph) -> list[tuple[str, str]]:
    """The imports from an inner ring to an outer one."""
    return sorted((importer, imported) for importer, imported in rooms.edges if RING_OF[importer] < RING_OF[imported])


def room(module: str) -> str:
    """The room of a module: `serl_ray.data.schema` is in `data`."""
    return [*module.split("."), "__init__"][1]


def draw(rooms: networkx.DiGraph, path: Path) -> None:
    """Draws the rooms, a row for each ring with the edge on top; arrows lead to what is imported."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(11, 7))
    places = {}
    depths = networkx.single_source_shortest_path_length
    for number, (ring, members) in enumerate(RINGS.items()):
        there = sorted((member for member in members if member in rooms), key=lambda member: len(depths(rooms, member)))
        axes.axhspan(number - 0.5, number + 0.5, color=COLOURS[number], zorder=0)
        axes.text(-0.06, number, ring, fontsize=12, fontweight="bold", ha="right", va="center")
        for place, member in enumerate(there):
            places[member] = ((place + 1) / (len(there) + 1), number + 0.22 * (-1) ** place * (len(there) > 2))
    arrows = {"connectionstyle": "arc3,rad=0.06", "arrowsize": 9, "edge_color": "#00000055", "node_size": 2600}
    networkx.draw_networkx_edges(rooms, places, ax=axes, **arrows)
    networkx.draw_networkx_labels(
        rooms, places, ax=axes, font_size=10, bbox={"facecolor": "white", "boxstyle": "round"}
    )
    axes.set_xlim(-0.15, 1.02)
    axes.axis("off")
    figure.tight_layout()
    figure.savefig(path)


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(tree: ast.AST, files: dict[str, Path], importer: str) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (module := _source(node, importer)).split(".")[0] == PACKAGE:
            members = (f"{module}.{alias.name}" for alias in node.names)
            found |= {member if member in files else module for member in members}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in files}
    return found


def _source(node: ast.ImportFrom, importer: str) -> str:
    """The module that names are imported from; files that serl_robot has as well import their neighbours by a dot."""
    parts = importer.split(".")[: -node.level] if node.level else []
    return ".".join([*parts, *([node.module] if node.module else [])])


def main() -> int:
    """Prints what there is; 1 where there are cycles or imports that run outwards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="Picture to draw, such as docs/imports.svg.")
    arguments = parser.parse_args()
    files = file_graph()
    rooms = room_graph(files)
    for ring, members in RINGS.items():
        print(f"{ring}:")
        for member in sorted(member for member in members if member in rooms):
            print(f"    {member:<12} imports {', '.join(sorted(rooms.successors(member))) or 'nothing'}")
    wrong = {
        "cycles of files": cycles(files),
        "cycles of rooms": cycles(rooms),
        "imports that run outwards": outward(rooms),
    }
    print(f"{len(rooms)} rooms, {len(files)} files")
    for what, found in wrong.items():
        print(f"{what}: {len(found)}", *(f"    {' '.join(group)}" for group in found), sep="\n")
    if arguments.output:
        draw(rooms, arguments.output)
    return int(any(wrong.values()))


if __name__ == "__main__":
    sys.exit(main())
