"""``mta dkim``: keys for signing: made, shown, changed for others, given up.

Contract: works on the files of the keys alone; a running service sees a change within seconds.  ``rotate`` takes one
step of a key's life (``mta.dkim.ledger``) and says what comes next; a key signs only after DNS was seen to have its
record, unless ``--now`` says otherwise.
How it fails: exit status 1 where nothing could be done: keys that cannot be read or written, and for ``rotate`` a
record that DNS does not show yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final

import click

from mta.address import AddressError, normal_domain
from mta.admin.dns_asking import Asked, ask_dns
from mta.admin.setting import Setting, as_json, now_ms, output, pass_setting
from mta.admin.zone import txt_data, zone_line
from mta.config.dkim_options import keys_folder
from mta.config.values import nearest
from mta.dkim.keys import Algorithm, PrivateKey, WrongKey, make, read, record
from mta.dkim.ledger import SELECTOR, Entry, Ledger, Plan, State, Step, next_step
from mta.dkim.published import Judgement, Seen, judge, record_name
from mta.dkim.store import KeyFiles, Unusable

_MOST_PEM: Final = 64 << 10


@click.group()
def dkim() -> None:
    """Keys that sign mail (DKIM)."""


def _domain(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        domain = normal_domain(value)
    except AddressError as error:
        raise click.BadParameter(f"{value!r} is no domain: {error}") from None
    if domain.startswith("["):
        raise click.BadParameter("an address literal has no DNS to put a key into")
    return domain


def _selector(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if value and not SELECTOR.match(value):
        raise click.BadParameter("write lower-case letters, digits and hyphens")
    return value


@dkim.command()
@click.argument("domain", callback=_domain)
@click.option("--selector", default="", callback=_selector, help="Its name in DNS [default: the day].")
@click.option("--algorithm", type=click.Choice([one.value for one in Algorithm]), help="Make this one alone.")
@click.option("--key", type=click.File("rb"), help="Take this private key, PEM, instead of making one.")
@as_json
@pass_setting
def keygen(
    setting: Setting, domain: str, selector: str, algorithm: str | None, key: BinaryIO | None, as_json: bool
) -> None:
    """Make keys for a domain, and print their DNS records.

    They sign when `mta dkim rotate` has seen the records in DNS.
    """
    keys = [_taken(key)] if key is not None else _made(setting, [algorithm] if algorithm else None)
    if selector and len(keys) > 1:
        raise click.UsageError("a selector is the name of one key: say --algorithm too")
    files = _files(setting)
    try:
        with files.changing(domain) as ledger:
            new = _add(files, domain, ledger, keys, selector)
    except Unusable as error:
        raise click.ClickException(str(error)) from error
    output(_values(domain, new, {}), as_json, lambda: _told_new(domain, new))


@dkim.command()
@click.argument("domain", callback=_domain, required=False)
@click.option("--no-dns", is_flag=True, help="Do not ask DNS.")
@as_json
@pass_setting
def show(setting: Setting, domain: str | None, no_dns: bool, as_json: bool) -> None:
    """The keys of a domain, or of all, and what DNS says of them.

    Exits with 1 if a key in use is not right in DNS.
    """
    files = _files(setting)
    ledgers = _ledgers(files, domain)
    asked = [] if no_dns else [(name, entry) for name, ledger in ledgers.items() for entry in ledger.entries]
    seen = _judged(setting, asked)
    values = [_values(name, ledger.entries, seen) for name, ledger in ledgers.items()]

    def lines() -> Iterable[str]:
        for name, ledger in ledgers.items():
            for entry in ledger.entries:
                yield _line(name, entry, seen)
            for entry in ledger.entries:
                yield zone_line(
                    record_name(entry.selector, name), "TXT", txt_data(record(entry.algorithm, entry.public))
                )
            yield f"NEXT  {_next(setting, name, ledger)}"

    output(values, as_json, lambda: list(lines()))
    bad = {Seen.MISSING, Seen.WRONG}
    if any(entry.state is State.ACTIVE and seen[name, entry.selector].seen in bad for name, entry in asked):
        raise click.exceptions.Exit(1)


@dkim.command()
@click.argument("domain", callback=_domain, required=False)
@click.option("--due", is_flag=True, help="Only what is due by dkim.rotate_after and dkim.retire_after; for cron.")
@click.option("--now", "at_once", is_flag=True, help="Do not wait for DNS, nor for the time.")
@as_json
@pass_setting
def rotate(setting: Setting, domain: str | None, due: bool, at_once: bool, as_json: bool) -> None:
    """Take the next step of changing keys, for a domain or for all that have keys.

    New keys are made; when DNS has their records, they sign and the old ones retire; when the mail that those signed
    has arrived, they go.  Exits with 1 if DNS does not show a record that it has to.
    """
    files = _files(setting)
    ledgers = _ledgers(files, domain)
    plans = {name: _plan(setting, ledger, due, at_once) for name, ledger in ledgers.items()}
    wanted = [(name, entry) for name, plan in plans.items() if plan.step is Step.USE for entry in plan.entries]
    seen = {} if at_once else _judged(setting, wanted)
    taken, values, lines = True, [], []
    for name in ledgers:
        try:
            with files.changing(name) as ledger:
                plan = _plan(setting, ledger, due, at_once)
                done, told = _take(setting, files, name, ledger, plan, seen, at_once)
        except Unusable as error:
            raise click.ClickException(str(error)) from error
        taken = taken and done
        after = files.ledger(name)
        values.append({**_values(name, after.entries, seen), "step": plan.step.value, "taken": done})
        lines += [*told, f"NEXT  {_next(setting, name, after)}"]
    output(values, as_json, lambda: lines)
    if not taken:
        raise click.exceptions.Exit(1)


@dkim.command()
@click.argument("domain", callback=_domain)
@click.argument("selector", callback=_selector)
@as_json
@pass_setting
def retire(setting: Setting, domain: str, selector: str, as_json: bool) -> None:
    """Use a key no more, from now on: it got into wrong hands, or an algorithm is given up.

    One that never signed goes at once.
    """
    files = _files(setting)
    try:
        with files.changing(domain) as ledger:
            after = ledger.retiring(selector, now_ms())
            files.put(domain, after)
    except KeyError:
        known = [entry.selector for entry in files.ledger(domain).entries]
        raise click.ClickException(f"{domain} has no key {selector}: {nearest(selector, known)}") from None
    except Unusable as error:
        raise click.ClickException(str(error)) from error
    told = [f"{selector} signs no more", f"NEXT  {_next(setting, domain, after)}"]
    output(_values(domain, after.entries, {}), as_json, lambda: told)


# --- steps -------------------------------------------------------------------------------------------------


def _plan(setting: Setting, ledger: Ledger, due: bool, at_once: bool) -> Plan:
    """The step to take now: asked for by somebody it may come sooner than it is due."""
    options = setting.configuration.dkim
    # What is signed may wait for so long before it arrives.
    retire_after = max(options.retire_after, setting.configuration.queue.expire_after)
    plan = next_step(ledger, now_ms(), int(options.rotate_after * 1000), int(retire_after * 1000))
    if plan.step is Step.WAIT:
        retiring = any(entry.state is State.RETIRED for entry in plan.entries)
        if retiring and at_once:
            return plan._replace(step=Step.FORGET)
        if not retiring and not due:
            return plan._replace(step=Step.MAKE)
    return plan


def _take(
    setting: Setting,
    files: KeyFiles,
    domain: str,
    ledger: Ledger,
    plan: Plan,
    seen: dict[tuple[str, str], Judgement],
    at_once: bool,
) -> tuple[bool, list[str]]:
    """Was the step taken; and what there is to say of it."""
    if plan.step is Step.WAIT:
        return True, [f"{domain}: nothing is due before {_day(plan.due)}"]
    if plan.step is Step.MAKE:
        return True, _told_new(domain, _add(files, domain, ledger, _made(setting, None), ""))
    if plan.step is Step.FORGET:
        files.put(domain, ledger.without(plan.entries))
        return True, [
            f"{domain}: {entry.selector} is gone; remove the record {record_name(entry.selector, domain)}"
            for entry in plan.entries
        ]
    waiting = [] if at_once else [one for one in plan.entries if _lacks(seen, domain, one)]
    if waiting:
        return False, [f"{domain}: {one.selector}: {seen[domain, one.selector].text}" for one in waiting]
    files.put(domain, ledger.using(plan.entries, now_ms()))
    return True, [f"{domain}: {entry.selector} ({entry.algorithm}) signs from now on" for entry in plan.entries]


def _lacks(seen: dict[tuple[str, str], Judgement], domain: str, entry: Entry) -> bool:
    found = seen.get((domain, entry.selector))
    # One that was made meanwhile was not asked for.
    return found is None or found.seen is not Seen.RIGHT


def _add(files: KeyFiles, domain: str, ledger: Ledger, keys: Sequence[PrivateKey], selector: str) -> list[Entry]:
    now = now_ms() // 1000 * 1000
    new: list[Entry] = []
    if any(entry.selector == selector for entry in ledger.entries):
        raise Unusable(f"{domain} has a key {selector} already; a name is never used again")
    for key in keys:
        if any(entry.public == key.public for entry in ledger.entries):
            raise Unusable(f"{domain} has this key already")
        name = selector or ledger.with_new(new).free_selector(key.algorithm, now)
        new.append(Entry(selector=name, algorithm=key.algorithm, public=key.public, made=now))
    named = {entry.selector: key for entry, key in zip(new, keys, strict=True)}
    files.put(domain, ledger.with_new(new), named)
    return new


def _made(setting: Setting, algorithms: Sequence[str] | None) -> list[PrivateKey]:
    options = setting.configuration.dkim
    return [make(Algorithm(name), options.rsa_bits) for name in algorithms or options.algorithms]


def _taken(file: BinaryIO) -> PrivateKey:
    try:
        return read(file.read(_MOST_PEM))
    except (OSError, WrongKey) as error:
        raise click.ClickException(f"{file.name}: {error}") from error


# --- what all do -------------------------------------------------------------------------------------------


def _files(setting: Setting) -> KeyFiles:
    return KeyFiles(keys_folder(setting.configuration.state, setting.configuration.dkim))


def _ledgers(files: KeyFiles, domain: str | None) -> dict[str, Ledger]:
    try:
        known = files.domains()
        if domain is not None and domain not in known:
            raise click.ClickException(f"{domain} has no keys; make some: mta dkim keygen {domain}")
        return {name: files.ledger(name) for name in ([domain] if domain else known)}
    except Unusable as error:
        raise click.ClickException(str(error)) from error


def _judged(setting: Setting, wanted: Sequence[tuple[str, Entry]]) -> dict[tuple[str, str], Judgement]:
    """What DNS says of keys, by domain and selector."""
    asked = {(name, entry.selector): Asked("txt", record_name(entry.selector, name)) for name, entry in wanted}
    answers = ask_dns(setting.configuration, asked.values())
    return {
        (name, entry.selector): judge(answers[asked[name, entry.selector]], entry.algorithm, entry.public)
        for name, entry in wanted
    }


def _next(setting: Setting, domain: str, ledger: Ledger) -> str:
    plan = _plan(setting, ledger, due=True, at_once=False)
    names = ", ".join(entry.selector for entry in plan.entries)
    if plan.step is Step.USE:
        return f"when DNS shows {names}: mta dkim rotate {domain}"
    if plan.step is Step.MAKE:
        return f"new keys are due: mta dkim rotate {domain}"
    if plan.step is Step.FORGET:
        return f"{names} can go: mta dkim rotate {domain}"
    retiring = any(entry.state is State.RETIRED for entry in plan.entries)
    return f"leave {names} in DNS until {_day(plan.due)}" if retiring else f"new keys on {_day(plan.due)}"


def _told_new(domain: str, new: Sequence[Entry]) -> list[str]:
    lines = ["; put into DNS:"]
    for entry in new:
        lines.append(
            zone_line(record_name(entry.selector, domain), "TXT", txt_data(record(entry.algorithm, entry.public)))
        )
    return [*lines, f"; then they sign by: mta dkim rotate {domain}"]


def _line(domain: str, entry: Entry, seen: dict[tuple[str, str], Judgement]) -> str:
    since = {State.NEW: entry.made, State.ACTIVE: entry.used, State.RETIRED: entry.retired}[entry.state]
    found = seen.get((domain, entry.selector))
    text = f"{domain}  {entry.selector}  {entry.algorithm}  {entry.state} since {_day(since)}"
    return text if found is None else f"{text}  {found.text}"


def _values(domain: str, entries: Sequence[Entry], seen: dict[tuple[str, str], Judgement]) -> dict[str, Any]:
    keys = []
    for entry in entries:
        found = seen.get((domain, entry.selector))
        keys.append(
            {
                "selector": entry.selector,
                "algorithm": entry.algorithm.value,
                "state": entry.state.value,
                "made": entry.made,
                "used": entry.used or None,
                "retired": entry.retired or None,
                "name": record_name(entry.selector, domain),
                "record": record(entry.algorithm, entry.public),
                "dns": None if found is None else found._asdict(),
            }
        )
    return {"domain": domain, "keys": keys}


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d}"
