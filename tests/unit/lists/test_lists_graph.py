"""Lists that have each other as members, in any way: it ends, and who can be reached is reached once."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from list_cases import Lists, a_list

from mta.address import Address

NAMES = ("l0", "l1", "l2", "l3", "l4")
MEMBER = st.sampled_from([*[f"{name}@example.org" for name in NAMES], *[f"u{n}@m.example" for n in range(6)]])
GRAPH = st.lists(st.lists(MEMBER, max_size=6), min_size=len(NAMES), max_size=len(NAMES))


class Graph(Lists):
    @settings(max_examples=150)
    @given(GRAPH)
    def test_everybody_whom_a_way_leads_to_once(self, graph: list[list[str]]) -> None:
        super().setUp()
        self.begin(*[a_list(name, *members) for name, members in zip(NAMES, graph, strict=True)])
        met, todo, expected = {"l0"}, ["l0"], set()
        while todo:
            for member in graph[NAMES.index(todo.pop())]:
                address = Address.parse(member)
                if address.domain != "example.org":
                    expected.add(member)
                elif address.local not in met:
                    met.add(address.local)
                    todo.append(address.local)
        found = [str(row.recipient.address) for row in self.send("l0")]
        self.assertEqual(sorted(found), sorted(expected))
