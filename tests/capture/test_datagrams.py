"""Many datagrams in one call: their bytes, stamps and senders as Python's own recvmsg gives them."""

import socket
import struct
import time

import pytest

from rokuga.capture.datagrams import ROOM, SIZE, SO_TIMESTAMPNS, Datagrams


def bound(family: int, address: str) -> socket.socket:
    source = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    source.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    source.bind((address, 0))
    return source


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_what_was_sent_comes_with_when_and_from_where(family: int, address: str) -> None:
    datagrams = Datagrams()
    with bound(family, address) as source, socket.socket(family, socket.SOCK_DGRAM) as out:
        assert datagrams.receive(source) == []
        for text in (b"", b"a", b"bc" * 600):
            before = time.time_ns()
            out.sendto(text, source.getsockname())
            out.sendto(b"?", source.getsockname())
            ((data, stamp), (_, later)) = datagrams.receive(source)
            assert bytes(data) == text
            assert before <= stamp <= later <= time.time_ns()
            assert datagrams.sender(0)[0] == address
            assert datagrams.sender(1)[1] == out.getsockname()[1]
        out.sendto(b"!", source.getsockname())
        *_, sender = source.recvmsg(1)
        out.sendto(b"!", source.getsockname())
        datagrams.receive(source)
        assert datagrams.sender(0) == sender


def test_a_call_brings_as_many_as_there_is_room_for() -> None:
    datagrams = Datagrams()
    with bound(socket.AF_INET, "127.0.0.1") as source, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for number in range(ROOM + 3):
            out.sendto(struct.pack("!I", number), source.getsockname())
        assert [bytes(data) for data, _ in datagrams.receive(source)] == [struct.pack("!I", n) for n in range(ROOM)]
        assert [bytes(data) for data, _ in datagrams.receive(source)] == [struct.pack("!I", ROOM + n) for n in range(3)]


def test_one_that_is_too_long_is_cut_off_and_harms_no_other() -> None:
    datagrams = Datagrams()
    with bound(socket.AF_INET, "127.0.0.1") as source, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(b"x" * 5000, source.getsockname())
        out.sendto(b"y", source.getsockname())
        assert [bytes(data) for data, _ in datagrams.receive(source)] == [b"x" * SIZE, b"y"]


def test_without_the_option_there_is_no_stamp_not_the_one_of_before() -> None:
    datagrams = Datagrams()
    with bound(socket.AF_INET, "127.0.0.1") as source, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(b"x", source.getsockname())
        assert datagrams.receive(source)[0][1] > 0
        source.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 0)
        out.sendto(b"x", source.getsockname())
        assert datagrams.receive(source)[0][1] == 0


def test_an_answer_that_nobody_listens_is_an_error() -> None:
    datagrams = Datagrams()
    with bound(socket.AF_INET, "127.0.0.1") as source:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            gone.bind(("127.0.0.1", 0))
            address = gone.getsockname()
        source.connect(address)
        source.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            datagrams.receive(source)
