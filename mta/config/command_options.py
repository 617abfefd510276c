"""The options of ``[commands]``: what ``|command`` and ``/file`` targets of aliases may reach."""

from __future__ import annotations

from collections.abc import Iterator

from mta.config.option import Path, at_least, option
from mta.config.program_options import ProgramOptions, user_id


def _full_paths(programs: tuple[str, ...]) -> str | None:
    if all(program.startswith("/") for program in programs):
        return None
    return 'has one that is no full path; write such as "/usr/bin/procmail"'


class CommandOptions(ProgramOptions):
    """What `|command` and `/file` targets of aliases may reach: by themselves, nothing. See `docs/pipe.rst`."""

    programs: tuple[str, ...] = option(
        (),
        doc="The programs that `|command` targets may name, by their full paths. Without any there are no commands.",
        example='["/usr/bin/procmail"]',
        check=_full_paths,
    )
    folders: tuple[Path, ...] = option(
        (),
        doc="The folders below which `/file` targets may lie. Files are written by the user that the service has, "
        "which may not be root; a path that ends in `/` is a Maildir, and takes folders that nobody but root and that "
        "user may write to. Without any there are no files but /dev/null.",
        example='["/var/mail/archive"]',
    )
    concurrency: int = option(4, doc="How many commands run at once.", unit="programs", check=at_least(1))

    def contradictions(self) -> Iterator[tuple[str, str, str]]:
        """See ``Options``."""
        yield from super().contradictions()
        if self.programs and self.user is None:
            yield "programs", "the user is missing that they run as", 'write user = "nobody", or one of their own'
        if self.user is not None and user_id(self.user) == 0:
            yield "user", "commands of aliases are never run as root", "name another user"
