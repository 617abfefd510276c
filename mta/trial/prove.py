"""Runs the tests of a configuration: does what decides do what they expect?

Contract: ``prove`` returns what is wrong, each with file and case and with what came instead; nothing goes over a
network, is stored or sent.  ``mta check`` and a reload refuse a configuration with failing tests; a start tells of them
in the log and goes on (docs/decisions/tests-of-a-configuration.rst).
Limits: ``MOST_CASES``; a case may take ``CASE_SECONDS`` and all together ``ALL_SECONDS``: what could not be run by then
has failed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from mta.address import Address, AddressError
from mta.config.problems import Problem
from mta.config.schema import Configuration
from mta.deciding import Deciding
from mta.message.header import scan
from mta.reply import Reply
from mta.routing.values import is_place
from mta.trial.answers import GivenAnswers
from mta.trial.cases import Case, Expect, Placed, matches, read_cases
from mta.trial.trial import Trial
from mta.trial.values import Copy, Mail, Result
from mta.waiting import step

CASE_SECONDS: Final = 1.0
ALL_SECONDS: Final = 5.0


class Proof(NamedTuple):
    """How many cases there are, and what is wrong with them or with the configuration by them."""

    cases: int
    problems: list[Problem]


def prove(decides: Deciding, now: Callable[[], int], seconds: Callable[[], float]) -> Proof:
    """Run all tests that stand beside the configuration; ``seconds`` is the monotonic clock."""
    found = read_cases(decides.configuration)
    problems = list(found.problems)
    began = seconds()
    for number, placed in enumerate(found.cases):
        started = seconds()
        if started - began > ALL_SECONDS:
            left = len(found.cases) - number
            problems.append(placed.problem(f"was not run, nor {left - 1} after it: {ALL_SECONDS:g} s were over"))
            break
        problems += [placed.problem(what) for what in failures(decides, placed, now)]
        if (took := seconds() - started) > CASE_SECONDS:
            problems.append(placed.problem(f"took {took:.1f} s, of {CASE_SECONDS:g} that it may"))
    return Proof(len(found.cases), problems)


def failures(decides: Deciding, placed: Placed, now: Callable[[], int]) -> Iterator[str]:
    """What came of a case, where that is not what it expects."""
    case = placed.case
    try:
        result = run_case(decides, case, now)
    except (LookupError, ValueError) as error:
        yield str(error)
        return
    if result is None:
        yield "came to no end: something has to be waited for that a test does not give"
        return
    wrong = list(differences(case, result))
    yield from wrong
    if wrong:  # perhaps because of these
        yield from result.lacking


def run_case(decides: Deciding, case: Case, now: Callable[[], int]) -> Result | None:
    """What comes of a case; None where it would have to wait."""
    resolver = case.resolver()
    tables = {_full(name, decides.configuration): entries for name, entries in case.tables.items()}
    answerer = GivenAnswers(decides.configuration, decides.answerer, resolver, tables, case.day, case.used, case.calls)
    trial = Trial(decides, resolver=resolver, names=resolver, now=now, answerer=answerer)
    mail = Mail(
        recipients=case.to,
        sender=case.from_,
        client=str(case.client),
        helo=case.helo,
        login=case.auth,
        listener=case.listener,
        size=case.size,
        message=case.message(),
    )
    foresee = case.expect.hosts is not None or bool(case.expect.tls)
    try:
        done, result = step(trial.run(mail, foresee))
        if isinstance(result, Result):
            return replace(result, lacking=tuple(answerer.lacking))
        assert not done
        result.addErrback(lambda failure: None).cancel()
        return None
    finally:
        trial.close()


def _full(name: str, configuration: Configuration) -> str:
    """The name of a table as decisions ask for it."""
    kind, colon, path = name.partition(":")
    if kind == "file" and colon:
        return f"file:{os.path.join(os.path.dirname(os.path.abspath(configuration.files[0])), path)}"
    return f"table:{name.removeprefix('table:')}"


# --- what came, against what is expected -------------------------------------------------------------------------


def differences(case: Case, result: Result) -> Iterator[str]:
    """Each expectation that was not met, and what came."""
    expect = case.expect
    finals = [result.final(number) for number in range(len(case.to))]
    yield from _replies("reply", expect.reply, case.to, finals)
    yield from _replies("mail", (expect.mail,) if expect.mail else (), ("MAIL",), (result.mail,))
    yield from _replies("rcpt", expect.rcpt, case.to, result.rcpt)
    for reply in result.data or (None,):
        yield from _replies("data", (expect.data,) if expect.data else (), ("the message",), (reply,))
    yield from _recipients(expect, result.copies)
    yield from _routes(expect, result.copies)
    yield from _senders(expect, result, case.from_)
    yield from _foreseen(expect, result.copies)
    yield from _header(expect, result)


def _replies(key: str, expected: Sequence[str], to: Sequence[str], came: Sequence[Reply | None]) -> Iterator[str]:
    if not expected:
        return
    for wanted, whom, reply in zip(_for_each(expected, len(to)), to, came, strict=True):
        if reply is None:
            yield f'expect.{key}: "{wanted}" for {whom}, and it did not come to that'
        elif not matches(wanted, str(reply)):
            yield f'expect.{key}: "{wanted}" for {whom}; came: {reply}'


def _for_each(expected: Sequence[str], count: int) -> Sequence[str]:
    """One text stands for all."""
    return expected if len(expected) != 1 else [expected[0]] * count


def _recipients(expect: Expect, copies: Sequence[Copy]) -> Iterator[str]:
    if expect.recipients is None:
        return
    came = sorted(_whom(copy) for copy in copies)
    if came != sorted(_normal(text) for text in expect.recipients):
        yield f"expect.recipients: {_list(expect.recipients)}; came: {_list(came)}"


def _whom(copy: Copy) -> str:
    """A place that an address leads to stands for itself."""
    destination = copy.recipient.destination
    return str(destination) if is_place(destination) else str(copy.recipient.address)


def _normal(text: str) -> str:
    try:
        return str(Address.parse(text, utf8=True))
    except AddressError:
        return text


def _routes(expect: Expect, copies: Sequence[Copy]) -> Iterator[str]:
    if expect.route:
        if not copies:
            yield f"expect.route: {_list(expect.route)}; nothing was taken"
        wanted = dict(zip([_normal(text) for text in expect.recipients or ()], expect.route, strict=False))
        for copy in copies:
            route = expect.route[0] if len(expect.route) == 1 else wanted.get(_whom(copy), "")
            came = copy.route.destination
            if route not in (came.service, str(came)):
                yield f'expect.route: "{route}" for {_whom(copy)}; came: {came}'
    for copy in copies:
        if copy.trouble is not None:
            yield f"{_whom(copy)} would not go on: {copy.trouble}"
        if expect.held != bool(copy.route.hold):
            yield f"expect.held: {_whom(copy)} {f'is held: {copy.route.hold}' if copy.route.hold else 'is not held'}"


def _senders(expect: Expect, result: Result, sender: str) -> Iterator[str]:
    """In whose name it goes on."""
    for copy in result.copies if expect.sender else ():
        rewrite = copy.route.rewrite
        came = sender if rewrite is None else str(rewrite.reverse_path or "")
        if not matches(expect.sender, came):
            yield f'expect.sender: "{expect.sender}" for {_whom(copy)}; came: {came or "<>"}'


def _foreseen(expect: Expect, copies: Sequence[Copy]) -> Iterator[str]:
    if expect.hosts is not None:
        for copy in copies:
            came = [host.name for host in copy.foresight.hosts] if copy.foresight else []
            if came != [text.lower().removesuffix(".") for text in expect.hosts]:
                why = f" ({copy.foresight.failure})" if copy.foresight and copy.foresight.failure else ""
                yield f"expect.hosts: {_list(expect.hosts)} for {_whom(copy)}; came: {_list(came)}{why}"
    if expect.tls:
        for copy in copies:
            level = copy.foresight.tls if copy.foresight else ""
            if level != expect.tls:
                yield f'expect.tls: "{expect.tls}" for {_whom(copy)}; came: "{level}"'


def _header(expect: Expect, result: Result) -> Iterator[str]:
    header = scan(result.header)
    for name, wanted in expect.header.items():
        fields = header.all(name.lower().encode("ascii", "replace"))
        values = [header.value(field).decode("utf-8", "replace") for field in fields]
        if not any(matches(wanted, value) for value in values):
            came = "; ".join(values) if values else "no such field"
            yield f'expect.header: {name}: "{wanted}"; came: {came}'
    for name in expect.no_header:
        if header.all(name.lower().encode("ascii", "replace")):
            yield f"expect.no_header: there is a field {name}"


def _list(texts: Iterable[str]) -> str:
    return ", ".join(texts) or "none"
