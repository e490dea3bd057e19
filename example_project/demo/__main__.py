"""Play a guest's evening for real: ``python -m example_project.demo``; or stay open with ``--serve``."""

from __future__ import annotations

import argparse
import io
import sys

from rich.console import Console

from example_project.demo.playing import play
from example_project.demo.serving import serve
from example_project.demo.stage import StageFailed, heed_interrupts
from example_project.demo.telling import Teller

#: What a shell says of a program that was interrupted.
INTERRUPTED = 130


def main() -> int:
    arguments = _parser().parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that knows no arrow gets a question mark, not a traceback.
        sys.stdout.reconfigure(errors="replace")
    heed_interrupts()
    teller = Teller(Console(highlight=False, markup=False, emoji=False))
    try:
        if arguments.serve:
            serve(teller, port=arguments.port, sandbox_port=arguments.sandbox_port)
        return 0 if play(teller, database=arguments.database, broker=arguments.broker) else 1
    except StageFailed as failure:
        teller.say()
        teller.warn(str(failure))
        return 1
    except KeyboardInterrupt:
        teller.say()
        teller.say("Closed.")
        return 0 if arguments.serve else INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m example_project.demo",
        description="An evening in a pub that takes payments through Qerko, played for real on this machine.",
    )
    parser.add_argument("--serve", action="store_true", help="stay open, with the addresses to visit, until Ctrl-C")
    parser.add_argument("--port", type=_port, default=8000, help="of the pub, with --serve; or one of the next")
    parser.add_argument("--sandbox-port", type=_port, default=8765, help="of Qerko, with --serve; or one of the next")
    parser.add_argument("--database", metavar="URL", help="an empty database to play on, instead of a file")
    parser.add_argument("--broker", metavar="URL", help="a broker to play on, instead of a file")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0, for any that is free, to 65535")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
