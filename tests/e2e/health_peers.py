"""Real servers for probes: nginx with and without TLS, gRPC's own library, a datagram echo, and servers that mean no good.
Each is of one network namespace; each may be stopped, started, and told to answer wrongly."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from lab.shell import end, in_namespace, run, start, wait_until

HTTP, HTTPS, EXPIRED, OTHER_CA = 80, 443, 444, 445
GRPC, ECHO = 50051, 7
PYTHON = Path(__file__).resolve().parents[1] / "support" / "python"

# A name that ends in .17 has an error for everybody: a backend with this address, too, for a probe's Host is its address.
NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 80 default_server; listen [::]:80;
    location = / {{ if (-f {folder}/wrong) {{ return 503; }} return 200 "all is well\\n"; }}
    location = /busy {{ return 503; }}
    location = /moved {{ return 302 http://127.0.0.1:80/busy; }}
    location = /sni {{ return 200 "name $ssl_server_name host $http_host\\n"; }}
  }}
  server {{ listen 80; server_name www.example.com; location / {{ return 204; }} }}
  server {{ listen 80; server_name *.17; return 500; }}
  server {{ listen 443 ssl; ssl_certificate {folder}/good.pem; ssl_certificate_key {folder}/good.key;
            location / {{ if (-f {folder}/wrong) {{ return 503; }}
                          return 200 "name=$ssl_server_name;host=$http_host;\\n"; }} }}
  server {{ listen 444 ssl; ssl_certificate {folder}/expired.pem; ssl_certificate_key {folder}/expired.key;
            location / {{ if (-f {folder}/wrong) {{ return 503; }} return 200; }} }}
  server {{ listen 445 ssl; ssl_certificate {folder}/stranger.pem; ssl_certificate_key {folder}/stranger.key;
            location / {{ return 200; }} }}
}}
"""


def certificate(folder: Path, name: str, days: list[str], ca: str | None, address: str) -> None:
    """A key and a certificate for www.example.com and the address, signed by `ca`, or by itself."""
    run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
        f"{folder}/{name}.key", "-out", f"{folder}/{name}.csr", "-subj", f"/CN={name}")
    (folder / f"{name}.ext").write_text(f"subjectAltName=DNS:www.example.com,IP:{address}\n" if ca else
                                        "basicConstraints=critical,CA:TRUE\n")
    signer = ["-CA", f"{folder}/{ca}.pem", "-CAkey", f"{folder}/{ca}.key", "-CAcreateserial"] if ca else [
        "-key", f"{folder}/{name}.key"]
    run("openssl", "x509", "-req", "-in", f"{folder}/{name}.csr", "-out", f"{folder}/{name}.pem",
        "-extfile", f"{folder}/{name}.ext", *days, *signer)


def make_certificates(folder: Path, address: str) -> None:
    """What nginx shows, and ca.pem, by which "good" can be verified: the others are expired, and of another CA."""
    certificate(folder, "ca", ["-days", "2"], None, address)
    certificate(folder, "strange-ca", ["-days", "2"], None, address)
    certificate(folder, "good", ["-days", "1"], "ca", address)
    certificate(folder, "expired", ["-days", "-1"], "ca", address)
    certificate(folder, "stranger", ["-days", "1"], "strange-ca", address)


class Peer:
    """One server; `listens` says when it is ready."""

    def __init__(self, namespace: str, command: list[str], log: Path, listens: Callable[[], bool]) -> None:
        self._command, self._log, self._listens = in_namespace(namespace, command), log, listens
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = start(self._command, str(self._log))

    def wait(self) -> None:
        if not wait_until(self._listens, 20, step=0.02):
            raise RuntimeError(f"{self._command} does not listen: {self._log.read_text()}")

    def stop(self) -> None:
        if self._process:
            end(self._process)


class HealthPeers:
    """nginx, gRPC and the echo of one namespace, whose answers are about `address`; a context manager. What it is told
    to answer wrongly it does so by a file `wrong` in its folder."""

    def __init__(self, namespace: str, address: str, folder: Path) -> None:
        self.namespace, self.folder = namespace, folder
        make_certificates(folder, address)
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder))
        log, wrong = folder / "log", str(folder / "wrong")
        self.nginx = Peer(namespace, ["nginx", "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")], log,
                          lambda: all(self._has("-Hltn", port) for port in (HTTP, HTTPS, EXPIRED, OTHER_CA)))
        self.grpc = Peer(namespace, [sys.executable, str(PYTHON / "grpc_health_server.py"), f"{address}:{GRPC}", wrong], log,
                         lambda: self._has("-Hltn", GRPC))
        self.echo = Peer(namespace, [sys.executable, str(PYTHON / "udp_echo_server.py"), address, str(ECHO), wrong], log,
                         lambda: self._has("-Hlun", ECHO))
        self.all = (self.nginx, self.grpc, self.echo)

    def _has(self, sockets: str, port: int) -> bool:
        return f":{port} " in run(*in_namespace(self.namespace, ["ss", sockets]))

    def __enter__(self) -> "HealthPeers":
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        for peer in self.all:
            peer.start()
        for peer in self.all:
            peer.wait()

    def stop(self) -> None:
        for peer in self.all:
            peer.stop()

    def answer_wrongly(self, wrong: bool) -> None:
        """nginx: 503 where it says 200; gRPC: NOT_SERVING; the echo: something else."""
        if wrong:
            (self.folder / "wrong").touch()
        else:
            (self.folder / "wrong").unlink()
