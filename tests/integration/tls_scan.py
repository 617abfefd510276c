"""``make tls-scan``: testssl.sh looks at both TLS ports of a running daemon; fails on findings above "low".

It starts a daemon of its own with a certificate of an authority made for the purpose, which testssl.sh is told to
trust.  What it says of that certificate alone, and not of the server, is listed in ``OF_THE_TEST`` with the reason and
printed, but does not count.  testssl.sh is a package of Debian: ``apt-get install testssl.sh``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.certificates import rsa_key
from tests.integration.test_tls_daemon import AUTHORITY, Tls

#: Findings that a certificate of a throw-away authority must have, and what the scanner cannot see.
OF_THE_TEST: Final = {
    "cert_revocation": "the test's authority has no list of what it revoked",
    "cert_crlDistributionPoints": "the same",
    "cert_ocspURL": "the same",
    "sessionresumption_ticket": "its client may leave before the tickets come; tests/unit/tls has that test",
}
GOOD: Final = frozenset({"OK", "INFO", "LOW", "DEBUG"})
#: Connections come fast, and many of them break off.
LIMITS: Final = "[limits]\nconnections_per_client = 1000\nerrors = 1000\n"
TIME: Final = 1200


def scan(program: str, port: int, starttls: bool, folder: Path) -> list[dict[str, Any]]:
    """The findings on one port, as testssl.sh writes them."""
    report = folder / f"{port}.json"
    authority = folder / "authority.pem"
    authority.write_bytes(AUTHORITY.pem)
    command = [program, "--quiet", "--color", "0", "--warnings", "off", "--openssl-timeout", "20"]
    command += ["--ip", "127.0.0.1", "--add-ca", str(authority), "--jsonfile", str(report)]
    if starttls:
        command += ["--starttls", "smtp"]
    command.append(f"mail.ours.example:{port}")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIME)
    if not report.exists():
        raise SystemExit(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    found: list[dict[str, Any]] = json.loads(report.read_text())
    if not any(one["id"] == "TLS1_3" for one in found):
        raise SystemExit(f"the scan did not come to its end:\n{done.stdout}{done.stderr}")
    return found


def judge(what: str, findings: list[dict[str, Any]]) -> int:
    """Print what is worth it; how many findings count."""
    bad = 0
    for one in findings:
        severity = one["severity"]
        if severity in GOOD and severity != "LOW":
            continue
        excuse = next((why for id, why in OF_THE_TEST.items() if one["id"].startswith(id)), "")
        counts = severity not in GOOD and not excuse
        bad += counts
        mark = "FAIL" if counts else "    "
        note = f"   ({excuse})" if excuse else ""
        print(f"{mark} {what:<9} {severity:<8} {one['id']}: {one['finding']}{note}")
    print(f"     {what:<9} {len(findings)} findings, {bad} above low")
    return bad


def main() -> None:
    """Scan; exit status 1 if anything is above "low"."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rsa", action="store_true", help="with an RSA key in place of an elliptic one")
    options = parser.parse_args()
    program = shutil.which("testssl") or shutil.which("testssl.sh")
    if program is None:
        sys.exit("testssl.sh is not installed: apt-get install testssl.sh")
    with tempfile.TemporaryDirectory() as folder, Tls(LIMITS, start=False) as daemon:
        key = rsa_key(2048) if options.rsa else None
        issued = AUTHORITY.issue("mail.ours.example", key=key, common_name="mail.ours.example")
        daemon.certificate("mail.pem", issued.key + issued.certificate)
        daemon.start()
        bad = 0
        for what, port, starttls in (("starttls", daemon.port, True), ("implicit", daemon.implicit, False)):
            bad += judge(what, scan(program, port, starttls, Path(folder)))
        if "Traceback" in daemon.log():
            bad += 1
            print(f"FAIL the daemon did not like it:\n{daemon.log()}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
