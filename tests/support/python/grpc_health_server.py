"""A gRPC server with grpc.health.v1.Health, as gRPC's own library speaks it: grpc_health_server.py ADDRESS:PORT [FILE]

The server as a whole and service "web" are SERVING, "tired" is NOT_SERVING, "slow" takes ten seconds to answer, others
are NOT_FOUND. While FILE exists, the server as a whole is NOT_SERVING. The two messages are written out by hand: they are
three bytes.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent import futures

import grpc

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"


def check(request: bytes, context: grpc.ServicerContext) -> bytes:
    service = request[2:].decode() if request else ""
    if service == "slow":
        time.sleep(10)
    is_wrong = len(sys.argv) > 2 and os.path.exists(sys.argv[2])
    answers = {"": NOT_SERVING if is_wrong else SERVING, "web": SERVING, "slow": SERVING, "tired": NOT_SERVING}
    if service not in answers:
        context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
    return answers[service]


def main() -> None:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    handler = grpc.unary_unary_rpc_method_handler(check)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler}),))
    server.add_insecure_port(sys.argv[1])
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
