#!/usr/bin/python3
"""`weir replay` refuses to write over what it reads, and to write one file twice, before it touches any."""
from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.python.weir_replay import weir_program  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
# what is asked for -> words that the refusal must have
CASES = {
    ("--in", "edge=in.pcap", "--out", "edge=in.pcap"): "the same file as --in edge=in.pcap",
    ("--in", "edge=in.pcap", "--out", "edge=link.pcap"): "the same file as --in edge=in.pcap",
    ("--in", "edge=in.pcap", "--report", "./in.pcap"): "the same file as --in edge=in.pcap",
    ("--in", "edge=in.pcap", "--out", "edge=weir.cfg"): "the same file as the configuration",
    ("--in", "edge=in.pcap", "--out", "edge=new", "--report", "new"): "the same file as --out edge=new",
    ("--in", "edge=in.pcap", "--out", "edge=-"): "a file's name",
    ("--in", "edge=in.pcap", "--report", "absent/report.json"): "No such file or directory",
    ("--in", "edge=in.pcap", "--in", "red=link.pcap", "-c", "vlans.cfg"):
        "the device of ports edge, red, blue, customer, one for all its VLANs, has a capture already",
    ("--in", "edge=in.pcap", "--out", "red=new", "--out", "blue=other", "-c", "vlans.cfg"): "has a capture already",
}


def main() -> int:
    failed = 0
    with tempfile.TemporaryDirectory(prefix="weir-replay-") as name:
        folder = Path(name)
        config = (ROOT / "configs" / "replay-pcap.cfg").read_bytes()
        capture = (ROOT / "tests" / "replay" / "link_layer" / "in.pcap").read_bytes()
        (folder / "weir.cfg").write_bytes(config)
        (folder / "vlans.cfg").write_bytes((ROOT / "tests" / "replay" / "vlans" / "weir.cfg").read_bytes())
        (folder / "in.pcap").write_bytes(capture)
        (folder / "link.pcap").symlink_to("in.pcap")
        for arguments, words in CASES.items():
            done = subprocess.run([weir_program(), "replay", *([] if "-c" in arguments else ["-c", "weir.cfg"]), *arguments], cwd=folder, text=True,
                                  capture_output=True, timeout=60, check=False)
            whole = (folder / "weir.cfg").read_bytes() == config and (folder / "in.pcap").read_bytes() == capture
            good = done.returncode == 1 and words in done.stderr and whole
            failed += not good
            print("PASS" if good else f"FAIL (exit {done.returncode}, inputs whole: {whole}) {done.stderr.strip()}",
                  *arguments)
    print(f"{len(CASES) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
