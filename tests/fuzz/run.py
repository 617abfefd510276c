"""``make fuzz ARGS="--seconds 60 --target wire"``: looks for octets for which a property does not hold.

Each target runs in a process of its own under atheris (libFuzzer), guided by what code an input reaches.  What is
found is kept in ``tests/fuzz/found/TARGET/``, which the normal tests try again for ever; the corpus that a run has
gathered, in ``.fuzz/TARGET/``, is where the next one begins.  Exit status 1 says that something was found.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / ".fuzz"
FOUND = Path(__file__).parent / "found"
#: Octets of one input.
LONGEST = 4096
#: Seconds that one input may take, and MiB that a process may hold: more is a find too.
SLOWEST, MEMORY = 10, 1024


def main() -> int:
    """Run the targets that were asked for, one after the other."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--target", action="append", help="one of them; may be given again; all where left out")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options, rest = parser.parse_known_args()
    if options.one:
        _fuzz(options.one, rest)
        return 0
    from tests.fuzz.targets import TARGETS

    names = options.target or list(TARGETS)
    unknown = sorted(set(names) - set(TARGETS))
    if unknown or rest:
        parser.error(f"{' '.join([*unknown, *rest])}: unknown; targets are {' '.join(TARGETS)}")
    found = [name for name in names if not _run(name, max(1, options.seconds // len(names)))]
    if found:
        print(f"found something for: {' '.join(found)}; see {FOUND.relative_to(ROOT)}")
    return 1 if found else 0


def _run(name: str, seconds: int) -> bool:
    """One target in a process of its own; false if it found something."""
    from tests.fuzz.targets import TARGETS

    corpus, found = CORPUS / name, FOUND / name
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    target = TARGETS[name]
    for number, start in enumerate(target.starts or target.words):
        (corpus / f"seed-{number}").write_bytes((b"\0" if target.cut else b"") + start)
    words = CORPUS / f"{name}.dict"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words if word))
    print(f"--- {name}: {seconds} s", flush=True)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.fuzz.run",
            "--one",
            name,
            f"-max_total_time={seconds}",
            f"-max_len={LONGEST}",
            "-len_control=20",  # whole sessions soon, not only their first commands
            f"-timeout={SLOWEST}",
            f"-rss_limit_mb={MEMORY}",
            f"-dict={words}",
            f"-artifact_prefix={found}/",
            "-print_final_stats=1",
            str(corpus),
            str(found),
        ],
        cwd=ROOT,
        check=False,
    )
    if not any(found.iterdir()):
        found.rmdir()
    return done.returncode == 0


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{octet:02x}" for octet in word)


def _fuzz(name: str, arguments: list[str]) -> None:
    """Does not come back."""
    import atheris

    # What is imported here is watched: which branches an input reaches, and which octets it is compared with.
    with atheris.instrument_imports(include=["mta"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name].check)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
