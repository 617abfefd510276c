"""The command line ``mta``: its commands, and the options before them.

``mta`` finds its configuration by --config, then $MTA_CONFIG, then etc/mta.toml, then /etc/mta/mta.toml.
Exit status: 0, or 1 for "no" (a wrong configuration, unaccounted mail, nothing meant, no service to reach).
What the commands share is in ``setting``; each group of them has a file of its own.
"""

from __future__ import annotations

import click

from mta import __version__
from mta.admin import (
    account,
    account_release,
    asking,
    checking,
    dkim,
    dns,
    explaining,
    lists,
    mail,
    queue_changing,
    queue_reading,
    route,
    running,
    simulate,
    spool_commands,
)
from mta.admin.setting import Setting, find_configuration


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="txmta")
@click.option("--config", metavar="FILE", help="The configuration (else $MTA_CONFIG, etc/mta.toml, /etc/mta/mta.toml).")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Override one option.")
@click.pass_context
def main(context: click.Context, config: str | None, overrides: tuple[str, ...]) -> None:
    """txmta: look at its configuration, its queue and its messages."""
    context.obj = Setting(find_configuration(config), overrides)


@main.group()
def queue() -> None:
    """What waits, and why; and what to do with it.

    Commands that change something ask before they change more than one recipient.
    """


for _command in (
    queue_reading.queue_list,
    queue_reading.queue_show,
    queue_reading.queue_stats,
    queue_changing.hold,
    queue_changing.release,
    queue_changing.retry,
    queue_changing.reroute,
    queue_changing.bounce,
    queue_changing.delete,
    queue_changing.pause,
    queue_changing.resume,
):
    queue.add_command(_command)

for _command in (
    account.account,
    asking.audit,
    asking.config,
    asking.erase,
    asking.table,
    checking.check,
    dkim.dkim,
    dns.dns,
    explaining.explain,
    lists.list_group,
    mail.sendmail,
    running.drain,
    running.log,
    running.reload,
    route.route,
    running.status,
    simulate.simulate,
    spool_commands.spool,
):
    main.add_command(_command)


account.account.add_command(account_release.release)


if __name__ == "__main__":
    main()
