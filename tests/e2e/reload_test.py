"""Reloads under load: no request fails, a server that has left gets no new flow, known flows go on."""

from __future__ import annotations

import hashlib
import subprocess
import time
from pathlib import Path

from lab.load import Wrk
from lab.scenarios import VIP4
from lab.servers import WebServers
from lab.shell import end, in_namespace, wait_until
from lab.topology import Lab
from lab.weir import Weir, config_text

URL = f"http://{VIP4}/"
RELOADS = 100


def test_100_reloads_under_load_fail_no_request(lab: Lab, weir: Weir, servers: WebServers, tmp_path: Path) -> None:
    cycle = [["TestWeb02"], [], ["TestWeb01"], []]
    with Wrk(lab, tmp_path, URL, seconds=120, connections=4) as fresh, \
            Wrk(lab, tmp_path, URL, seconds=120, connections=4, new_connections=False) as lasting:
        time.sleep(1)
        for number in range(RELOADS):
            assert weir.reload(config_text(lab.network, without=cycle[number % len(cycle)])), weir.log()
        assert fresh.running() and lasting.running(), "the reloads outlasted the load"
        results = [fresh.finish(), lasting.finish()]
    assert [result.failed for result in results] == [0, 0], "\n".join(result.text for result in results)
    assert min(result.requests for result in results) > 1000
    assert weir.metrics().sum("config_last_reload_successful") == 1


def test_removed_server_gets_no_new_flow_and_keeps_its_known_ones(lab: Lab, weir: Weir, servers: WebServers,
                                                                  tmp_path: Path) -> None:
    leaver = servers.by_name["TestWeb02"]
    files = [tmp_path / f"slow-{number}" for number in range(6)]
    downloads = [subprocess.Popen(in_namespace(lab.namespace("client"), [
        "curl", "-sS", "--max-time", "60", "-o", str(file), URL + "slow"]), start_new_session=True) for file in files]
    try:
        with Wrk(lab, tmp_path, URL, seconds=12) as wrk:
            time.sleep(2)
            assert weir.reload(config_text(lab.network, without=["TestWeb02"])), weir.log()
            time.sleep(1)  # a SYN that was on its way
            before = leaver.connections()
            held = leaver.established()
            time.sleep(4)
            assert leaver.connections() == before, "a new flow reached a server that has left"
            assert held > 0, "no download happened to be on the server that left: the test saw nothing"
            assert weir.reload(config_text(lab.network)), weir.log()
            assert wait_until(lambda: leaver.connections() > before + 10, 5), "no new flow since it is back"
            result = wrk.result()
        assert result.failed == 0, result.text
        for download, file in zip(downloads, files):
            assert download.wait(60) == 0, "a known flow was cut"
            with open(file, "rb") as content:
                assert hashlib.file_digest(content, "sha256").hexdigest() == servers.sha256
            file.unlink()
    finally:
        for download in downloads:
            end(download)


def test_pool_without_servers_drops_and_says_so(lab: Lab, weir: Weir) -> None:
    assert weir.reload(config_text(lab.network, without=["TestWeb01", "TestWeb02"])), weir.log()
    before = weir.metrics().sum("dropped_packets_total", reason="no_backend")
    assert not lab.succeeds("client", "curl", "-s", "--max-time", "1", URL)
    assert weir.metrics().sum("dropped_packets_total", reason="no_backend") > before
    assert weir.reload(config_text(lab.network)), weir.log()
    assert lab.succeeds("client", "curl", "-s", "--max-time", "5", URL)


def test_every_packet_is_accounted_for(weir: Weir) -> None:
    assert wait_until(lambda: weir.metrics().unaccounted() == 0, 3), weir.metrics().text
