"""The grammar of the answer to `queues`."""

from __future__ import annotations

import keyword

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_template_extension import PROVIDERS, Queue, WrongAnswerError, checked_slug, parse_queues, slug


def parse(text: str) -> tuple[Queue, ...]:
    return parse_queues(text, provider="rabbitmq", dlq=True)


def test_the_documented_example_means_what_is_documented() -> None:
    users, orders = parse(" user_channel : send_audio , send_text ; orders @ memory ! nodlq : order.created ")
    assert (users.name, users.provider, users.dlq, users.handler) == ("user_channel", "rabbitmq", True, "UserHandler")
    assert [kind.name for kind in users.types] == ["send_audio", "send_text"]
    assert (orders.name, orders.provider, orders.dlq, orders.handler) == ("orders", "memory", False, "OrdersHandler")
    (created,) = orders.types
    assert (created.name, created.method, created.model) == ("order.created", "order_created", "OrderCreatedMessage")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is an empty queue"),
        (" ; ", "there is an empty queue"),
        ("a;", "there is an empty queue"),
        ("a;;b", "there is an empty queue"),
        (": x", "a queue has no name"),
        ("Users", "small letters"),
        ("1st", "begin with a letter"),
        ("a-b", "small letters"),
        ("größe", "small letters"),
        ("a\nb", "small letters"),
        ("x" * 49, "49 characters"),
        ("class", "Python keyword"),
        ("register_handlers", "there already"),
        ("con", "on Windows"),
        ("lpt1", "on Windows"),
        ("dlq_users", "begins with dlq_"),
        ("parked_users", "begins with parked_"),
        ("quarantine_users", "begins with quarantine_"),
        ("retry_users", "begins with retry_"),
        ("a; a", "queue 'a' is there twice"),
        ("a@kafka", "no provider 'kafka'; there are rabbitmq, redis, nats, memory"),
        ("a@", "no provider ''"),
        ("a!maybe", "'!maybe' must be '!dlq' or '!nodlq'"),
        ("a!", "'!' must be"),
        ("a!dlq!nodlq", "must be '!dlq' or '!nodlq'"),
        ("a:", "empty message type"),
        ("a: x,", "empty message type"),
        ("a: x y", "identifiers joined by"),
        ("a: 1x", "identifiers joined by"),
        ("a: x..y", "identifiers joined by"),
        ("a: é", "identifiers joined by"),
        ("a: x:y", "identifiers joined by"),
        ("a: _x", "can't be a public method"),
        ("a: class", "can't be a public method"),
        ("a: x, x", "type 'x' is there twice"),
        ("a: x.y, x_y", "same names in Python"),
        ("a: send_x, sendX", "same names in Python"),
    ],
)
def test_a_wrong_answer_says_what_is_wrong_in_one_line_with_a_right_example(text: str, said: str) -> None:
    with pytest.raises(WrongAnswerError) as caught:
        parse(text)
    line = str(caught.value)
    assert said in line
    assert line.startswith("queues: ")
    assert "Right is, for example: user_channel: send_audio" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Queue Service", "queue-service"),
        ("São Paulo's Fila 🚀", "sao-paulo-s-fila"),
        ("🚀", "queue-service"),
        ("1st", "st"),
        ("Große Ströme", "grosse-strome"),
        ("con", "queue-service"),
    ],
)
def test_a_slug_is_made_of_any_name(name: str, expected: str) -> None:
    assert slug(name) == expected
    assert checked_slug(slug(name)) == expected


names = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True).filter(
    lambda name: (
        not keyword.iskeyword(name)
        and not name.startswith(("dlq_", "parked_", "retry_", "quarantine_", "con", "com", "lpt"))
        and name not in ("nul", "prn", "aux", "register_handlers")
    )
)
types = st.from_regex(r"[a-z][a-z0-9]{0,10}([.-][a-z][a-z0-9]{0,10}){0,2}", fullmatch=True).filter(
    lambda name: not keyword.iskeyword(name.replace(".", "_").replace("-", "_"))
)
blanks = st.sampled_from(["", " ", "  ", "\t"])
queues = st.lists(
    st.tuples(
        names,
        st.none() | st.sampled_from(PROVIDERS),
        st.none() | st.booleans(),
        st.lists(types, max_size=4, unique_by=lambda name: name.replace(".", "").replace("-", "")),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda queue: queue[0],
)


@given(queues, st.sampled_from(PROVIDERS), st.booleans(), st.data())
def test_what_is_written_by_the_grammar_is_read_back(
    written: list[tuple[str, str | None, bool | None, list[str]]], provider: str, dlq: bool, data: st.DataObject
) -> None:
    def spaced(*parts: str) -> str:
        return "".join(data.draw(blanks) + part + data.draw(blanks) for part in parts)

    texts = []
    for name, own_provider, own_dlq, kinds in written:
        parts = [name]
        if own_provider is not None:
            parts += ["@", own_provider]
        if own_dlq is not None:
            parts += ["!", "dlq" if own_dlq else "nodlq"]
        texts.append(spaced(*parts) + (":" + ",".join(spaced(kind) for kind in kinds) if kinds else ""))
    read = parse_queues(";".join(texts), provider=provider, dlq=dlq)
    assert [(q.name, q.provider, q.dlq, [kind.name for kind in q.types]) for q in read] == [
        (name, own_provider or provider, dlq if own_dlq is None else own_dlq, kinds or ["example"])
        for name, own_provider, own_dlq, kinds in written
    ]


@given(st.text())
def test_any_text_is_either_read_or_refused_in_one_line(text: str) -> None:
    refused = ""
    read: tuple[Queue, ...] = ()
    try:
        read = parse(text)
    except WrongAnswerError as error:
        refused = str(error)
    assert len(refused.splitlines()) == (0 if read else 1)
    for queue in read:
        assert queue.name.isidentifier()
        assert queue.handler.isidentifier()
        for kind in queue.types:
            assert kind.method.isidentifier()
            assert kind.model.isidentifier()
            assert kind.name.isascii()
