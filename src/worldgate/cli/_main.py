"""Builds the command tree, runs one command, turns every exception into three lines and an exit code.

Source: exit codes and the three-line error are those of ``core/errors.py``. Notable choices: the root page is drawn in
``_root.py`` from the table of commands, without cyclopts or rich, because it is what people wait for most often; each
command is imported when it is called; parsing errors of cyclopts take the same three lines; stdout is the answer,
stderr everything else.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from worldgate import __version__
from worldgate.cli._commands import COMMANDS, PANELS
from worldgate.cli._root import EPILOGUE, SUMMARY, root_page
from worldgate.core.errors import Interrupted, UsageError, WorldgateError

if TYPE_CHECKING:
    from cyclopts import App


def build() -> App:
    """The command tree; each command's own docstring is its page."""
    from cyclopts import App, Group

    app = App(
        name="worldgate",
        help=SUMMARY,
        help_format="plaintext",
        help_epilogue=EPILOGUE,
        version=__version__,
        version_flags=["--version"],
        help_flags=["--help", "-h"],
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    groups = {panel: Group(panel, sort_key=place) for place, panel in enumerate(PANELS)}
    for place, command in enumerate(COMMANDS):
        app.command(command.target, name=command.name, group=groups[command.panel], sort_key=place)
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Nothing but the answer goes to stdout."""
    tokens = list(sys.argv[1:] if argv is None else argv)
    end = tokens.index("--") if "--" in tokens else len(tokens)
    debug = "--debug" in tokens[:end]
    tokens = [token for place, token in enumerate(tokens) if token != "--debug" or place >= end]
    try:
        if not tokens or tokens[0] in {"--help", "-h"}:
            sys.stdout.write(root_page())
            code = 0
        else:
            code = build()(tokens, exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader went away (`worldgate list logs | head -1`): nothing is left to say, and nowhere to say it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:
        return report(error, debug=debug)
    return code if isinstance(code, int) else 0


def report(error: BaseException, *, debug: bool) -> int:
    """Print an error as its three lines on stderr and return its exit code."""
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    known = explain(error)
    print(*known.lines(), sep="\n", file=sys.stderr)  # noqa: T201  # the one place that prints errors
    return known.exit_code


def explain(error: BaseException) -> WorldgateError:
    """Any exception as one of ours: what is wrong, what was got and where, what to try."""
    from cyclopts import CycloptsError

    if isinstance(error, WorldgateError):
        return error
    if isinstance(error, CycloptsError):
        words = " ".join(str(error).split())
        return UsageError(
            words[:1].lower() + words[1:].rstrip("."), hint="worldgate --help, or the command with --help"
        )
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("interrupted")
    if isinstance(error, OSError):
        return WorldgateError((error.strerror or str(error)).lower(), where=error.filename)
    return WorldgateError(
        "a defect in Worldgate, not in what you asked",
        got=f"{type(error).__name__}: {error}",
        hint="the same command with --debug, and report what it prints",
    )
