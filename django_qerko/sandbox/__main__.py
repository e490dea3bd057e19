"""Play Qerko without any project: ``python -m django_qerko.sandbox --url URL --api-key KEY``."""

from __future__ import annotations

import sys
from argparse import ArgumentParser

from django.conf import settings

from django_qerko.sandbox import arguments, command
from django_qerko.sandbox.printing import console_on


def main() -> None:
    """Run it for whoever typed that; a wrong call ends with the status 2."""
    # The sandbox reads no setting, but Django wants to have some, and would look for those of a project.
    settings.configure()
    parser = ArgumentParser(
        prog="python -m django_qerko.sandbox",
        description="Play Qerko on this machine, for a point of sale in any language: it needs a URL and a key.",
    )
    command.add_arguments(parser)
    arguments.keep_keys_unsaid(parser)
    options = vars(parser.parse_args())
    try:
        known = command.named(options.pop("url"), options.pop("api_key"))
        if not known:
            raise command.WrongCall("Name the --url of a webhook, and its restaurant's --api-key.")
        command.run(console_on(sys.stdout), known, **options)
    except command.WrongCall as wrong:
        parser.error(str(wrong))


if __name__ == "__main__":
    main()
