"""Entry point of the command line: exit codes and error messages."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType

import click

from kdcompress.errors import KdcompressError

_RESUMED = ("distill", "benchmark", "search")
"""Commands that keep what they have done so far."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit: 0 done, 2 wrong input, 130 interrupted, 1 anything else."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = _run([one for one in given if one != "--debug"])
    except KdcompressError as error:
        code = _fail(str(error), error.exit_code, debug)
    except (KeyboardInterrupt, click.Abort):
        command = next((one for one in given if not one.startswith("-")), "")
        how = "goes on where it stopped" if command in _RESUMED else "starts anew"
        code = _fail(f"interrupted; the same command {how}", 130, debug)
    except BrokenPipeError:
        # Whoever read the output went away; what is left in the buffers has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:  # noqa: BLE001 - the last resort of a command line
        from kdcompress import plugins

        # A plug-in is the user's own input.
        where = plugins.fault(error)
        message = f"{where}: {type(error).__name__}" if where else f"unexpected {type(error).__name__}"
        code = _fail(f"{message}: {error} (--debug shows where)", 2 if where else 1, debug)
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    from kdcompress.cli.group import cli

    try:
        return int(cli.main(arguments, prog_name="kdcompress", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        raise
    with contextlib.suppress(OSError):
        print(f"kdcompress: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
