"""The broker is not there when the service starts, or refuses it."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import create_server

import pytest

from core_tests.faults.conftest import WriteRow
from core_tests.faults.world import World

WATCHED = 16.0
"""Seconds: consumer and publisher each say it at once, and again after 10 to 15."""


def test_a_service_without_a_broker_is_alive_and_ready_soon_after_it_comes(world: World, row: WriteRow) -> None:
    world.node.kill()
    service = world.service()
    service.start(ready_within=0)
    live = service.wait_until(lambda: service.get("/health/live").status == 200, "the service is alive", 30)
    ready = service.get("/health/ready")
    answer = service.publish(world.queue)
    time.sleep(2)
    world.node.start()
    seconds = service.wait_until(lambda: service.get("/health/ready").status == 200, "the service is ready", 60)
    sender = world.sender()
    sender.send(20)
    world.all_handled(sender.confirmed, 10)
    fault = "there is no broker at the start"
    row(fault, "the process is up, and not ready", f"after {live:.1f} s: {ready.content}", ready.status == 503)
    row(
        fault,
        "a publish is a clear error",
        f"{answer.status} after {answer.seconds:.1f} s",
        answer.status == 503 and answer.seconds < 7 and answer.content["may_have_landed"] is False,
    )
    row(fault, "ready within 3 s of the broker", f"{seconds:.1f} s", seconds < 10)
    verdict = world.verdict(sender)
    row(fault, "and it consumes", verdict, not verdict.lost)
    storm = service.log.count("Traceback")
    row(fault, "no traceback in the log", f"{storm}", storm == 0)


@contextmanager
def strange_tls(folder: Path) -> Iterator[int]:
    """A TLS server whose certificate no authority has signed; yields its port."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject, *made],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        listener.settimeout(0.2)
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                with suppress(OSError):
                    client, _ = listener.accept()
                    with client:
                        client.settimeout(5)
                        context.wrap_socket(client, server_side=True).close()

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        yield port
        stop.set()
        server.join(10)


def test_a_broker_that_refuses_is_said_at_once_and_again_at_a_sane_interval(
    world: World, row: WriteRow, tmp_path: Path
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl, to make a certificate")
    port = world.node.port
    with strange_tls(tmp_path) as tls_port:
        refused = {
            "the password is wrong": (f"amqp://guest:wrong@127.0.0.1:{port}/", "check username and password"),
            "the virtual host is wrong": (
                f"amqp://guest:guest@127.0.0.1:{port}/nope",
                "NOT_ALLOWED - vhost nope not found",
            ),
            "the certificate is unknown": (f"amqps://127.0.0.1:{tls_port}", "its certificate is refused"),
            "the port speaks no TLS": (f"amqps://127.0.0.1:{port}", "it does not speak TLS"),
        }
        services = {fault: world.service(url=url) for fault, (url, _) in refused.items()}
        for service in services.values():
            service.start(ready_within=0)
        for service in services.values():
            service.wait_until(lambda: service.get("/health/live").status == 200, "the service is alive", 60)  # noqa: B023 - called before the next round
        said = {
            fault: service.wait_until(lambda: refused[fault][1] in service.log, "the log says it", 30)  # noqa: B023 - called before the next round
            for fault, service in services.items()
        }
        time.sleep(WATCHED)
        for fault, service in services.items():
            lines = [line for line in service.log.splitlines() if " WARNING " in line or " ERROR " in line]
            detail = str(service.health(world.queue).get("detail"))
            clear = refused[fault][1] in detail and service.get("/health/ready").status == 503
            row(fault, "said at once, in the log and in /health/queue", f"{said[fault]:.1f} s: {detail}", clear)
            row(
                fault,
                "and again at a sane interval, without tracebacks or secrets",
                f"{len(lines)} lines in {WATCHED:g} s",
                3 <= len(lines) <= 8 and "Traceback" not in service.log and "wrong@" not in service.log,
            )
