"""How the verdicts of one stage join: the model is the text of ``mta.verdict``."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from policy_cases import policies, policy
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.events import SAID
from mta.message.edits import Edit
from mta.policy.engine import Ruling, Stage
from mta.policy.values import ConnectionContext
from mta.reply import Reply
from mta.verdict import Decision, Verdict
from mta.waiting import step

REPLIES = {Decision.REJECT: 550, Decision.DEFER: 451}


@st.composite
def verdicts(draw: st.DrawFn) -> Verdict:
    decision = draw(st.sampled_from(Decision))
    text = draw(st.sampled_from("abcdef"))
    reply = Reply.of(REPLIES[decision], "", text) if decision in REPLIES else None
    return Verdict(
        decision=decision,
        reply=reply,
        edits=tuple(Edit(n, 0, text.encode()) for n in draw(st.lists(st.integers(0, 9), max_size=2))),
        facts=draw(st.dictionaries(st.sampled_from("xyz"), st.integers(), max_size=2)),
        reasons=tuple(SAID(text=one) for one in draw(st.lists(st.sampled_from("rst"), max_size=2))),
    )


class Join(SynchronousTestCase):
    @given(st.lists(verdicts(), max_size=6))
    def test_as_the_text_says(self, some: list[Verdict]) -> None:
        final = next((n for n, one in enumerate(some) if one.decision.final), len(some))
        counted = some[: final + 1]
        joined = Verdict.join(some)
        hardest = max(counted, key=lambda one: one.decision.value, default=Verdict.none())
        self.assertEqual((joined.decision, joined.reply), (hardest.decision, hardest.reply))
        self.assertEqual(joined.edits, tuple(edit for one in counted for edit in one.edits))
        self.assertEqual(joined.reasons, tuple(reason for one in counted for reason in one.reasons))
        facts: dict[str, int] = {}
        for one in counted:
            facts |= one.facts
        self.assertEqual(joined.facts, facts)

    @given(st.lists(verdicts(), max_size=5), st.lists(verdicts(), max_size=5))
    def test_in_pieces_or_at_once(self, first: list[Verdict], second: list[Verdict]) -> None:
        before = Verdict.join(first)
        whole = before if before.decision.final else Verdict.join([before, Verdict.join(second)])
        self.assertEqual(whole, Verdict.join([*first, *second]))

    @given(st.lists(st.tuples(verdicts(), st.booleans()), max_size=5))
    def test_the_engine_joins_so_and_shadow_is_as_if_it_were_not_there(self, some: list[tuple[Verdict, bool]]) -> None:
        plain = [(Verdict(decision=one.decision, reply=one.reply, reasons=one.reasons), shadow) for one, shadow in some]
        asked = policies(Clock(), *[policy(Stage.CONNECT, one, shadow=shadow) for one, shadow in plain])
        done, ruling = step(asked.check(Stage.CONNECT, ConnectionContext(listener="mx", client="")))
        self.assertTrue(done)
        assert isinstance(ruling, Ruling)
        self.assertEqual(ruling.verdict, Verdict.join(one for one, shadow in plain if not shadow))
