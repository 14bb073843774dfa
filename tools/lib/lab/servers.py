"""The servers behind weir: one nginx per backend, each with a configuration and a log of its own; behind a tunnel its end."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from pathlib import Path

from lab.built import helper
from lab.shell import end, in_namespace, start, wait_until
from lab.topology import Lab

BIG_FILE_BYTES = 100 * 1000 * 1000
PROXIED_PORT = 8000  # nginx takes connections with a PROXY header only

CONFIG = """
user root;
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 4096; }}
http {{
    client_body_temp_path {directory}/body;
    # Which server, which connection, how many requests on it so far, from where, what.
    log_format flow '$connection $connection_requests $remote_addr $remote_port $status $uri';
    access_log {directory}/access.log flow;
    keepalive_requests 1000000;
    sendfile on;
    # The same, of whom a PROXY header names, and of the VIP that he has dialled.
    log_format proxied '$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr '
                       '$proxy_protocol_server_port $status $uri';
    server {{
        listen {proxied_port} proxy_protocol;
        listen [::]:{proxied_port} proxy_protocol;
        access_log {directory}/proxied.log proxied;
        location = / {{
            default_type text/plain;
            return 200 "{name}\\n";
        }}
        location = /100m {{ alias {files}/100m; }}
        location /put/ {{ root {directory}; dav_methods PUT; create_full_put_path on; client_max_body_size 0; }}
    }}
    server {{
        listen 80 reuseport backlog=4096;
        listen [::]:80 reuseport backlog=4096;
        location = / {{
            default_type text/plain;
            if (-f {directory}/broken) {{ return 500; }}
            return 200 "{name}\\n";
        }}
        location = /100m {{ alias {files}/100m; }}
        # Slow on purpose: a flow that lives through a reload.
        location = /slow {{ alias {files}/100m; limit_rate {slow_rate}; }}
        # Kept, for a test to look at what came through.
        location /put/ {{ root {directory}; dav_methods PUT; create_full_put_path on; client_max_body_size 0; }}
    }}
}}
"""


def make_big_file(files: Path) -> str:
    """Writes the file `100m` and returns its SHA-256. No two of its blocks are alike."""
    digest = hashlib.sha256()
    with open(files / "100m", "wb") as output:
        for _ in range(BIG_FILE_BYTES // 1_000_000):
            block = os.urandom(1_000_000)
            digest.update(block)
            output.write(block)
    return digest.hexdigest()


class WebServer:
    def __init__(self, lab: Lab, host: str, directory: Path, files: Path, slow_rate: str = "10m") -> None:
        self.host = host
        self.directory = directory / host
        self.directory.mkdir(parents=True)
        config = self.directory / "nginx.conf"
        config.write_text(CONFIG.format(directory=self.directory, name=host, files=files, slow_rate=slow_rate,
                                        proxied_port=PROXIED_PORT))
        self.command = in_namespace(lab.namespace(host), ["nginx", "-e", str(self.directory / "error.log"), "-p",
                                                          str(self.directory), "-c", str(config)])
        self._access_log = self.directory / "access.log"
        self._offset = 0
        self._requests = 0
        self.start()

    def start(self) -> None:
        """Also after stop()."""
        self.process: subprocess.Popen[bytes] = start(self.command, str(self.directory / "output.log"))
        if not wait_until(self._listens, 10):
            end(self.process)
            raise RuntimeError(f"nginx on {self.host} does not start: {(self.directory / 'error.log').read_text()}")

    def break_root(self, broken: bool) -> None:
        """While it is broken, / is answered with 500."""
        if broken:
            (self.directory / "broken").touch()
        else:
            (self.directory / "broken").unlink()

    def _listens(self) -> bool:
        """Port 80 (hexadecimal 0050) is in state LISTEN (0A) in the server's namespace."""
        try:
            table = Path(f"/proc/{self.process.pid}/net/tcp").read_text()
            is_nginx = Path(f"/proc/{self.process.pid}/comm").read_text().strip() == "nginx"
        except OSError:
            return False
        return is_nginx and any(":0050 " in line and " 0A " in line for line in table.splitlines())

    def requests(self) -> int:
        """Requests answered so far."""
        with open(self._access_log, "rb") as log:
            log.seek(self._offset)
            while chunk := log.read(1 << 20):
                self._requests += chunk.count(b"\n")
            self._offset = log.tell()
        return self._requests

    def connections(self) -> int:
        """TCP connections accepted so far, by the kernel's own count: new flows that reached this server."""
        lines = [line.split() for line in Path(f"/proc/{self.process.pid}/net/snmp").read_text().splitlines()
                 if line.startswith("Tcp:")]
        return int(dict(zip(lines[0], lines[1]))["PassiveOpens"])

    def established(self) -> int:
        """TCP connections that are open at this moment (state 01)."""
        both = (Path(f"/proc/{self.process.pid}/net/{table}").read_text() for table in ("tcp", "tcp6"))
        return sum(line.split()[3] == "01" for text in both for line in text.splitlines()[1:])

    def stop(self) -> None:
        end(self.process, first=signal.SIGTERM)


class TunnelEnd:
    """tests/support/decapsulator on a backend."""

    def __init__(self, lab: Lab, host: str, directory: Path) -> None:
        self.lab, self.host = lab, host
        log = directory / f"decapsulator-{host}.log"
        self.process: subprocess.Popen[bytes] = start(in_namespace(lab.namespace(host), [helper("decapsulator")]),
                                                      str(log))
        if not wait_until(lambda: "ready" in log.read_text(), 10):
            end(self.process)
            raise RuntimeError(f"no tunnels on {host}: {log.read_text()}")

    def received(self, device: str) -> int:
        """Packets that came out of a tunnel: 4in4, 6in4, 4in6, 6in6, gue4 or gue6."""
        return self.lab.counted(self.host, device, "rx_packets")

    def refused(self, device: str) -> int:
        """What came by a tunnel and was no packet."""
        return self.lab.counted(self.host, device, "rx_dropped")

    def stop(self) -> None:
        end(self.process)


class WebServers:
    """All backends' servers and tunnel ends; a context manager."""

    def __init__(self, lab: Lab, directory: Path, big_file: bool = True, slow_rate: str = "10m") -> None:
        self.lab, self.directory = lab, directory
        self.files = directory / "files"
        self.files.mkdir(parents=True)
        self.sha256 = make_big_file(self.files) if big_file else ""
        self.slow_rate = slow_rate
        self.by_name: dict[str, WebServer] = {}
        self.tunnels: dict[str, TunnelEnd] = {}

    def __enter__(self) -> "WebServers":
        try:
            for backend in self.lab.network.backends:
                self.by_name[backend.name] = WebServer(self.lab, backend.name, self.directory, self.files,
                                                       self.slow_rate)
                if self.lab.network.host(backend.name).is_tunnel_end:
                    self.tunnels[backend.name] = TunnelEnd(self.lab, backend.name, self.directory)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for server in (*self.tunnels.values(), *self.by_name.values()):
            server.stop()

    def is_big_file(self, file: Path) -> bool:
        """Whether it is, byte by byte, what every server has under /100m. It goes."""
        with open(file, "rb") as content:
            same = hashlib.file_digest(content, "sha256").hexdigest() == self.sha256
        file.unlink()
        return same

    def download_whole(self, url: str, directory: Path) -> bool:
        """The client gets the big file from `url`, which ends with a slash."""
        got = directory / "100m"
        self.lab.execute("client", "curl", "-sS", "--max-time", "60", "-o", str(got), f"{url}100m", timeout=70)
        return self.is_big_file(got)

    def upload_whole(self, url: str, name: str) -> bool:
        """The client puts the big file under `url`, and one server has it."""
        self.lab.execute("client", "curl", "-sS", "--fail", "--max-time", "60", "-T", str(self.files / "100m"),
                         f"{url}put/{name}", timeout=70)
        kept = [file for server in self.by_name.values() if (file := server.directory / "put" / name).exists()]
        return len(kept) == 1 and self.is_big_file(kept[0])
