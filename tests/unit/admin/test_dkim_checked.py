"""``[dkim]``, ``[clients]`` and where a policy of type "dkim" may stand."""

from __future__ import annotations

from stopped_state import StoppedState

SUBMISSION = """
[policy.sign]
type = "dkim"

[service.mx]
policy = [{names}]
"""


class Checked(StoppedState):
    def said(self, text: str) -> str:
        path = self.folder / "mta.toml"
        before = path.read_text()
        path.write_text(before + text)
        output = self.run_mta("check").output
        path.write_text(before)
        return output

    def test_options(self) -> None:
        for text, why in {
            "[dkim]\nalgorithms = []": "is empty",
            '[dkim]\nalgorithms = ["ed25519-sha256"]': 'add "rsa-sha256"',
            '[dkim]\nalgorithms = ["rsa-sha1"]': "rsa-sha1",
            "[dkim]\nrsa_bits = 1024": "is not from 2048 to 4096",
            '[dkim]\nrotate_after = "1h"': "is too small",
            '[clients]\nimap = "imap.ours.example"': "is no name and port",
            '[clients]\npop3 = "pop.ours.example:99999"': "is no name and port",
        }.items():
            with self.subTest(text=text):
                self.assertIn(why, self.said(f"\n{text}\n"))

    def test_the_signature_comes_last(self) -> None:
        plugin = self.folder / "plugins"
        plugin.mkdir()
        (plugin / "stamp.py").write_text(
            "from mta.plugin import MessageContext, Options, Services, Verdict, provider\n"
            '@provider("policy.message", "stamp", Options)\n'
            "class Stamp:\n"
            "    def __init__(self, options: Options, services: Services) -> None: pass\n"
            "    def check(self, message: MessageContext) -> Verdict: return Verdict.none()\n"
        )
        more = '\n[plugins]\npaths = ["plugins"]\n[policy.stamp]\ntype = "stamp"\n'
        said = self.said(SUBMISSION.format(names='"sign", "stamp"') + more)
        self.assertIn('"stamp" is asked after "sign", and could change what that has signed', said)
        self.assertNotIn("is asked after", self.said(SUBMISSION.format(names='"stamp", "sign"') + more))
