"""TLS, with an authority of one's own: what is accepted, what is refused and in which words."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme

from core_tests.faults.conftest import WriteRow
from core_tests.faults.world import World
from core_tests.tools.ports import free_port
from core_tests.tools.process import ServiceProcess
from core_tests.tools.rabbitmq_node import RabbitMQNode

HOST = "localhost"
"""What the broker's certificate is for. It is reached by 127.0.0.1 as well, which the certificate is not for."""
WATCHED = 16.0
"""Seconds: consumer and publisher each say it at once, and again after 10 to 15."""
DAY = timedelta(days=1)


class TLSBroker:
    """A node that also speaks TLS, on `port`; and the authority that has signed its certificate. All files are PEM."""

    def __init__(self, node: RabbitMQNode, folder: Path) -> None:
        self.node = node
        self.port = free_port()
        self._folder = folder
        self._authority = trustme.CA()
        self.cafile = str(folder / "authority.pem")
        self._authority.cert_pem.write_to_path(self.cafile)
        self.renew()

    def restart(self, *, demanding: bool) -> None:
        """Start the node again; `demanding`: it refuses clients that have no certificate of its authority."""
        self.node.kill()
        verify = "verify_peer" if demanding else "verify_none"
        self.node.configure(
            f"listeners.ssl.1 = 127.0.0.1:{self.port}\n"
            f"ssl_options.cacertfile = {self.cafile}\n"
            f"ssl_options.certfile = {self._folder / 'broker.pem'}\n"
            f"ssl_options.keyfile = {self._folder / 'broker-key.pem'}\n"
            f"ssl_options.verify = {verify}\n"
            f"ssl_options.fail_if_no_peer_cert = {str(demanding).lower()}\n"
        )
        self.node.start()

    def renew(self, *, expired: bool = False) -> None:
        """Give the node another certificate, which a node that runs uses for new connections."""
        self.issue("broker", HOST, expired=expired)
        if self.node.running:
            self.node.ctl("eval", "ssl:clear_pem_cache().")

    def issue(self, name: str, identity: str, *, expired: bool = False, known: bool = True) -> dict[str, str]:
        """A certificate and its key, as keys of `ssl_context`. Not `known`: another authority has signed it."""
        end = datetime.now(UTC) + (-DAY if expired else DAY)
        authority = self._authority if known else trustme.CA()
        issued = authority.issue_cert(identity, not_before=end - 2 * DAY, not_after=end)
        files = {"certfile": str(self._folder / f"{name}.pem"), "keyfile": str(self._folder / f"{name}-key.pem")}
        issued.cert_chain_pems[0].write_to_path(files["certfile"])
        issued.private_key_pem.write_to_path(files["keyfile"])
        return files

    def clients(self, world: World) -> list[bool]:
        """Of each connection that the world's services have or are making: if it is TLS."""
        listed = json.loads(self.node.ctl("list_connections", "ssl", "client_properties", "--formatter", "json"))
        return [one["ssl"] for one in listed if f"{world.queue} " in str(one["client_properties"])]


@pytest.fixture(scope="module")
def node(installed: None) -> Iterator[RabbitMQNode]:
    """A node for this file: it is started by the broker below."""
    node = RabbitMQNode()
    try:
        yield node
    finally:
        node.remove()


@pytest.fixture(scope="module")
def broker(node: RabbitMQNode, tmp_path_factory: pytest.TempPathFactory) -> TLSBroker:
    """Asks for no certificates, until a test wants it to."""
    broker = TLSBroker(node, tmp_path_factory.mktemp("tls"))
    broker.restart(demanding=False)
    return broker


def service_of(
    world: World, broker: TLSBroker, context: dict[str, Any] | None, host: str = HOST, **keys: Any
) -> ServiceProcess:
    """A service with the keys of a file that older users have; not started."""
    given: dict[str, Any] = {
        "broker_url": host,
        "port": broker.port,
        "ssl": True,
        "ssl_context": context,
        "heartbeat": 600,
        "enable_consumer": True,
        "enable_publisher": True,
    }
    return world.service(**{**given, **keys})


def works(world: World, service: ServiceProcess) -> tuple[str, bool]:
    """Start the service, and publish over HTTP: what came of it, and if that is that it was handled."""
    ready = service.start()
    answer = service.publish(world.queue)
    name = answer.content["message_id"] if answer.status == 202 else ""
    world.all_handled({name}, 10)
    handled = name in world.ledger.ids()
    figure = f"ready after {ready:.1f} s, HTTP {answer.status}, {'handled' if handled else 'not handled'}"
    return figure, answer.status == 202 and handled


def answers_well(service: ServiceProcess, what: str) -> bool:
    return service.get(f"/health/{what}").status == 200


def has_decided(service: ServiceProcess, words: str) -> bool:
    """True once the log has the words of a refusal; or if the service is ready all the same."""
    return words in service.log or answers_well(service, "ready")


def refuse(world: World, broker: TLSBroker, row: WriteRow, refused: dict[str, tuple[ServiceProcess, str]]) -> None:
    """Start the services, and write rows about each: that it says these words, and does nothing else."""
    for service, _ in refused.values():
        service.start(ready_within=0)
    for service, _ in refused.values():
        service.wait_until(partial(answers_well, service, "live"), "the service is alive", 60)
    for service, words in refused.values():
        service.wait_until(partial(has_decided, service, words), f"the log says {words!r}", 30)
    until = time.monotonic() + WATCHED
    ready: set[ServiceProcess] = set()
    clients: list[bool] = []
    while time.monotonic() < until:
        ready |= {service for service, _ in refused.values() if answers_well(service, "ready")}
        clients += broker.clients(world)
    for fault, (service, words) in refused.items():
        detail = str(service.health(world.queue).get("detail"))
        answer = service.publish(world.queue)
        lines = [line for line in service.log.splitlines() if " WARNING " in line or " ERROR " in line]
        row(fault, "said in the log and in /health/queue", detail, words in detail and words in service.log)
        row(
            fault,
            "never ready, and nothing is sent",
            f"{'ready' if service in ready else 'never ready'}, HTTP {answer.status} to a publish",
            service not in ready and answer.status == 503 and answer.content["may_have_landed"] is False,
        )
        storm = service.log.count("Traceback")
        row(
            fault,
            "tried again at a sane interval, without tracebacks",
            f"{len(lines)} lines in {WATCHED:g} s, {storm} tracebacks",
            3 <= len(lines) <= 10 and not storm,
        )
    row("all of these", "the broker never sees a client", f"{len(clients)} seen", not clients)


def test_a_broker_that_an_authority_of_ones_own_vouches_for_is_used(
    world: World, broker: TLSBroker, row: WriteRow
) -> None:
    trusted = {"cafile": broker.cafile}
    figure, held = works(world, service_of(world, broker, {**trusted, "check_hostname": True}))
    clients = broker.clients(world)
    row("a private authority", "published over HTTP, and handled", figure, held)
    row("a private authority", "all over TLS", f"{sum(clients)} of {len(clients)} connections", clients == [True, True])
    figure, held = works(world, service_of(world, broker, {**trusted, "check_hostname": False}, "127.0.0.1"))
    row("the certificate is for another host", "used with check_hostname: false", figure, held)


def test_a_broker_that_cannot_prove_who_it_is_is_refused(world: World, broker: TLSBroker, row: WriteRow) -> None:
    other = broker.issue("other", HOST, known=False)["certfile"]
    trusted = {"cafile": broker.cafile}
    unknown = "ssl_context cafile must name the authority that signed it"
    refused = {
        "the certificate is for another host": (
            service_of(world, broker, trusted, "127.0.0.1"),
            "its certificate is refused: IP address mismatch, certificate is not valid for '127.0.0.1'",
        ),
        "no cafile, and the system does not know the authority": (service_of(world, broker, None), unknown),
        "the cafile is of another authority": (service_of(world, broker, {"cafile": other}), unknown),
        "the authority is unknown, with check_hostname: false": (
            service_of(world, broker, {"check_hostname": False}),
            unknown,
        ),
        "the port is for TLS, the URL is not": (
            service_of(world, broker, None, f"amqp://{HOST}:{broker.port}", ssl=False),
            "this port speaks TLS; set ssl: true, or write amqps://",
        ),
    }
    refuse(world, broker, row, refused)


def test_an_expired_certificate_is_refused_until_it_is_renewed(world: World, broker: TLSBroker, row: WriteRow) -> None:
    context = {"cafile": broker.cafile}
    expired = "its certificate is refused: certificate has expired"
    strict, lax = service_of(world, broker, context), service_of(world, broker, {**context, "check_hostname": False})
    broker.renew(expired=True)
    try:
        refused = {
            "the certificate has expired": (strict, expired),
            "the certificate has expired, with check_hostname: false": (lax, expired),
        }
        refuse(world, broker, row, refused)
    finally:
        broker.renew()
    seconds = strict.wait_until(partial(answers_well, strict, "ready"), "the service is ready", 60)
    row(
        "the certificate has expired",
        "once renewed, it is used without a restart",
        f"after {seconds:.1f} s",
        seconds < 20,
    )


def test_a_broker_that_demands_certificates_gets_the_service_s(world: World, broker: TLSBroker, row: WriteRow) -> None:
    context = {"cafile": broker.cafile}
    good = broker.issue("client", "service.example")
    expired = broker.issue("expired", "service.example", expired=True)
    unknown = broker.issue("unknown", "service.example", known=False)
    broker.restart(demanding=True)
    try:
        figure, held = works(world, service_of(world, broker, {**context, **good}))
        row("the broker demands a client certificate", "with it: published over HTTP, and handled", figure, held)
        world.services[0].terminate()
        words = "the broker refuses the service's certificate"
        refused = {
            "no client certificate": (
                service_of(world, broker, context),
                "the broker demands a certificate of the service; give ssl_context certfile and keyfile",
            ),
            "an expired client certificate": (service_of(world, broker, {**context, **expired}), words),
            "a client certificate of another authority": (service_of(world, broker, {**context, **unknown}), words),
        }
        refuse(world, broker, row, refused)
    finally:
        broker.restart(demanding=False)


def test_verification_cannot_be_turned_off(world: World, broker: TLSBroker, row: WriteRow) -> None:
    url = f"amqps://{HOST}:{broker.port}"
    attempts: dict[str, tuple[dict[str, Any], str]] = {
        **{
            f"amqps://...?{option}": ({"broker_url": f"{url}?{option}", "port": None}, "no options behind a '?'")
            for option in ("no_verify_ssl=1", "verify_ssl=0", "no_verify_ssl=true&cafile=x")
        },
        "a list with ?no_verify_ssl=1": ({"broker_url": [url, f"{url}/?no_verify_ssl=1"]}, "no options behind a '?'"),
        "ssl_context: {verify: false}": ({"ssl_context": {"verify": False}}, "unknown key"),
        "ssl_context: {verify_mode: none}": ({"ssl_context": {"verify_mode": "none"}}, "unknown key"),
        "ssl_context: false": ({"ssl_context": False}, "key 'ssl_context'"),
        "verify: false": ({"verify": False}, "unknown key"),
        "ssl: true, and amqp://": ({"broker_url": f"amqp://{HOST}:{broker.port}"}, "write amqps://"),
        "ssl_context, without TLS": (
            {"ssl": False, "ssl_context": {"cafile": broker.cafile}},
            "the connection is not TLS",
        ),
        "a cafile that isn't there": ({"ssl_context": {"cafile": "/nowhere.pem"}}, "there is no such file"),
        "a cafile that holds none": ({"ssl_context": {"cafile": __file__}}, "cafile holds no certificate"),
    }
    services = {fault: service_of(world, broker, None, **keys) for fault, (keys, _) in attempts.items()}
    for service in services.values():
        service.start(ready_within=0)
    for fault, service in services.items():
        deadline = time.monotonic() + 60
        while not service.ended and service.get("/health/live").status != 200 and time.monotonic() < deadline:
            time.sleep(0.05)
        said = service.log.strip()
        clear = said.startswith("error: ") and attempts[fault][1] in said and "\n" not in said
        row(
            fault,
            "the start is an error, with exit code 2, and one line says why",
            f"{service.exit_code}: {said.partition(f'queue {world.queue!r}: ')[2][:100]}",
            service.exit_code == 2 and clear,
        )
