"""``mta sendmail`` as a command among the others; ``mta`` itself takes a shorter way to it (first.py)."""

from __future__ import annotations

import click

from mta.admin.setting import Setting, pass_setting


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@pass_setting
def sendmail(setting: Setting, arguments: tuple[str, ...]) -> None:
    """Send mail as a program of this machine does: see docs/local-mail.rst.

    Options are those of sendmail: -t, -i, -f, -F, -bs, -bp, -bv, -bi, -q, -N, -R, -V, -v.
    """
    from mta.sendmail.main import main

    raise click.exceptions.Exit(main(arguments, setting.path, "sendmail"))
