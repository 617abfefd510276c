"""``mta route`` for people: the values of ``mta.admin.route_values`` as lines.  What strangers chose is escaped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from mta.admin import show
from mta.admin.route_tree import Node
from mta.events import escape

_RIGHTS: Final = {"network": "one of relay.networks", "authenticated": "authenticated"}
_NOTES: Final = {
    "loop": "leads back here: a loop, which ends here",
    "duplicate": "stands above: it goes once",
    "itself": "itself: its own mailbox, if it has one",
    "more": "and more, not shown",
}


def lines(values: dict[str, Any]) -> Iterator[str]:
    """All of it."""
    yield from _client(values)
    yield from _replies(values)
    for text in values["renamed"]:
        yield f"  {escape(text)}"
    for tree in values["trees"]:
        if tree["targets"] or tree["rule"] or tree["failure"]:
            yield ""
            yield from _tree(tree)
        if tree["failure"]:
            yield f"  ends: {escape(tree['failure'])}"
    if values["near"]:
        yield ""
        yield "NEARLY"
        for one in values["near"]:
            yield _placed(f"  {escape(one['what'])}: {escape(one['why'])}", one["where"])
    yield ""
    if values["recipients"]:
        yield f"GOES TO {show.many(len(values['recipients']), 'recipient')}"
        for one in values["recipients"]:
            yield from _recipient(one)
        yield ""
    limits = values["limits"]
    yield (
        f"LIMITS  message {show.octets(limits['message_size'])}, header {show.octets(limits['header'])}, "
        f"line {show.octets(limits['data_line'])}, {limits['recipients']:,} recipients, {limits['received_hops']} hops"
    )


def _placed(text: str, where: str) -> str:
    return f"{text}   {escape(where)}" if where else text


def _client(values: dict[str, Any]) -> Iterator[str]:
    client = values["client"]
    rights = ", ".join(_RIGHTS.get(right, right) for right in client["rights"])
    who = f"may send anywhere: {rights}" if rights else "a stranger: may send to our domains alone"
    login = f", logged in as {escape(client['login'])}" if client["login"] else ""
    yield f"{escape(client['address'])} ({escape(client['helo'])}{login}) {who}"


def _replies(values: dict[str, Any]) -> Iterator[str]:
    size = f" SIZE={values['size']}" if values["size"] else ""
    rows = [("MAIL", f"{show.path(values['sender'])}{size}", values["mail"] or values["greeting"], "")]
    rows += [("RCPT", show.path(one["address"]), one["reply"], "; ".join(one["why"])) for one in values["rcpt"]]
    rows += [("DATA", "", reply, "; ".join(values["why"])) for reply in values["data"]]
    width = max(len(row[1]) for row in rows)
    for command, what, reply, why in rows:
        if reply:
            yield f"  {command} {what.ljust(width)}  {escape(reply)}{f'   ({escape(why)})' if why else ''}"


def _tree(node: Node, depth: int = 0) -> Iterator[str]:
    arrow = f"{'  ' * depth}-> " if depth else ""
    note = f"   ({_NOTES[node['note']]})" if node["note"] else ""
    rule = f"   {node['rule']}{': ' + escape(node['table']) if node['table'] else ''}" if node["rule"] else ""
    stands = f"   (in {escape(node['stands'])})" if node["stands"] else ""
    yield _placed(f"{arrow}{escape(node['address'])}{stands}{rule}{note}", node["where"])
    for target in node["targets"]:
        yield from _tree(target, depth + 1)


def _recipient(one: dict[str, Any]) -> Iterator[str]:
    by = f"by {one['service']}" + (f" to {escape(one['next_hop'])}" if one["next_hop"] else "")
    yield f"  {escape(one['address'])} {by}"
    for rule in one["rules"]:
        yield _placed(f"    {escape(rule['rule'])}", rule["where"])
    if one["original"] != one["address"]:
        yield f"    sent to {escape(one['original'])}, by {escape(' '.join(one['path']))}"
    for key, text in (("held", "HELD"), ("trouble", "WAITS OR FAILS"), ("failure", "NO WAY"), ("rewrite", "sender")):
        if one[key]:
            yield f"    {text}: {escape(one[key])}"
    if one["reverse_path"]:
        yield f"    goes on from {show.path(one['reverse_path'])}"
    if one["place"]:
        yield f"    into {escape(one['place'])}"
    if one["tls"]:
        yield f"    TLS {one['tls']}"
    for host in one["hosts"]:
        addresses = " ".join(host["addresses"])
        yield f"    {host['preference']:>5} {escape(host['name'])} [{escape(addresses)}] port {host['port']}"
    for text in one["left_out"]:
        yield f"          {escape(text)}"
    for pace in one["pace"]:
        yield _placed(f"    pace {escape(pace['name'])}{_most(pace)}", pace["where"])
    if one["at_once"]:
        at_once = one["at_once"]
        deliveries = show.many(at_once["deliveries"], "delivery").replace("deliverys", "deliveries")
        yield (
            f"    at most {deliveries} at once, {show.many(at_once['recipients'], 'recipient')} in each; "
            f"given up after {show.age(round(one['expire_after'] * 1000))}"
        )


def _most(pace: dict[str, Any]) -> str:
    limits = (("connections", "at once"), ("messages_per_minute", "a minute"), ("recipients_per_minute", "a minute"))
    found = [f"{pace[key]:g} {key.partition('_')[0]} {when}" for key, when in limits if pace[key]]
    return f": {', '.join(found)}" if found else ": no limit"
