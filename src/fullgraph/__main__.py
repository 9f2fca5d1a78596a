"""The ``fullgraph`` command, also as ``python -m fullgraph``: says what to install where the command line is not."""

import sys

from fullgraph.errors import MissingExtra
from fullgraph.extras import extra


def main() -> None:
    """Run the command line on the process's own arguments; ends in SystemExit."""
    try:
        with extra("cli", "the command line"):
            import rich  # noqa: F401
            import typer  # noqa: F401
    except MissingExtra as error:
        print(f"MissingExtra: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    from fullgraph.cli import main

    main()


if __name__ == "__main__":
    main()
