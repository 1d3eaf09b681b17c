"""The licences of all that the locks name, from the metadata of what is installed: `make audit`. Needs no network.

What only the GPU image has is not installed here; its licences were read when it was locked (`gpu-licences.yaml`). Ends
with status 1 where somebody has to look at one.
"""

import sys

import typer

from audit.packages import complaints, exceptions, locked


def main() -> int:
    packages, exempted = locked(), exceptions()
    rows = [("package", "version", "licence", "in")] + [
        (each.name, each.version, each.licence or "not read", ", ".join(each.locks)) for each in packages
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        typer.echo("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]))
    typer.echo("\nLooked at by somebody, and why they may be here (audit/exceptions.yaml):")
    for given in dict.fromkeys(exempted.values()):
        names = ", ".join(name for name, its in exempted.items() if its == given)
        typer.echo(f"  {names} ({given.licence}): {given.reason}")
    found = complaints(packages, exempted)
    for line in found:
        typer.echo(line, err=True)
    typer.echo(f"\n{len(packages)} packages, {len(found)} to look at.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
