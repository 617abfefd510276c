"""The options of ``[service.X]``: what a kind of listener does; a ``[[listen]]`` may say otherwise for itself."""

from __future__ import annotations

from mta.config.option import Options, option
from mta.config.policy_options import Lmtp, Mx
from mta.config.submission_options import SubmissionOptions


class ServiceOptions(Options):
    """What the kinds of listeners do."""

    mx: Mx = option(factory=Mx, doc="Listeners for mail of other hosts.")
    lmtp: Lmtp = option(factory=Lmtp, doc="Listeners for LMTP.")
    submission: SubmissionOptions = option(factory=SubmissionOptions, doc="Listeners for submission.")
