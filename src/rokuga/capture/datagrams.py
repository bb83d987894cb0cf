"""Datagrams, many in one system call, with the kernel's receive time stamps: recvmmsg(2), which Python's socket module lacks.

They are left in memory that is used again and again: whoever keeps one copies it.
"""

import ctypes
import errno
import os
import socket
import struct
from ctypes import c_int, c_long, c_size_t, c_uint, c_void_p
from typing import Any, Literal

SO_TIMESTAMPNS = 35
"""The option that a socket needs so that its datagrams are stamped (socket(7))."""
ROOM = 64
"""datagrams in one call"""
SIZE = 2048
"""bytes of one; what is longer is cut off"""
_INET = struct.Struct("!H4s")
_INET6 = struct.Struct("!HI16sI")
_SECOND = 1_000_000_000


class _Control(ctypes.Structure):
    """struct cmsghdr with the struct timespec that follows it (cmsg(3), socket(7))."""

    _fields_ = (("length", c_size_t), ("level", c_int), ("type", c_int), ("seconds", c_long), ("nanoseconds", c_long))


class _Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", c_void_p), ("length", c_size_t))


class _Header(ctypes.Structure):
    """struct msghdr (recvmsg(2))."""

    _fields_ = (
        ("name", c_void_p),
        ("name_length", c_uint),
        ("vector", c_void_p),
        ("vector_length", c_size_t),
        ("control", c_void_p),
        ("control_length", c_size_t),
        ("flags", c_int),
    )


class _Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("header", _Header), ("length", c_uint))


class _Name(ctypes.Structure):
    """struct sockaddr_in or sockaddr_in6, which begin alike."""

    _fields_ = (("family", ctypes.c_ushort), ("rest", ctypes.c_ubyte * 26))


class Datagrams:
    """Room for what one call brings. Any number of sockets may share it: each is done with it before the next begins."""

    def __init__(self) -> None:
        memory = bytearray(ROOM * SIZE)
        self._slots = [memoryview(memory)[n * SIZE : (n + 1) * SIZE] for n in range(ROOM)]
        self._names = (_Name * ROOM)()
        self._controls = (_Control * ROOM)()
        self._vectors = (_Vector * ROOM)()
        self._messages = (_Message * ROOM)()
        first = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for n in range(ROOM):
            self._vectors[n] = _Vector(first + n * SIZE, SIZE)
            name, vector, control = (ctypes.addressof(part[n]) for part in (self._names, self._vectors, self._controls))
            self._messages[n].header = _Header(name, ctypes.sizeof(_Name), vector, 1, control, ctypes.sizeof(_Control), 0)
        self._fresh = bytes(self._messages)
        self._no_controls = bytes(self._controls)
        self._used = 0
        """so many structures hold what the kernel found for the last call"""
        self._first = ctypes.addressof(self._messages)
        # What is read for each datagram, as arrays that step over the structures.
        self._lengths = _column(self._messages, _Message, "length", "I")
        self._seconds = _column(self._controls, _Control, "seconds", "l")
        self._nanoseconds = _column(self._controls, _Control, "nanoseconds", "l")
        self._recvmmsg = ctypes.CDLL(None, use_errno=True).recvmmsg
        self._recvmmsg.argtypes = (c_int, c_void_p, c_uint, c_int, c_void_p)

    def receive(self, source: socket.socket) -> list[tuple[memoryview, int]]:
        """What waits in a non-blocking socket, ROOM datagrams at most, each with its stamp: UTC ns, 0 if the kernel gave none.

        Raises OSError, which is what the network answered to something that was sent.
        """
        if self._used:
            ctypes.memmove(self._messages, self._fresh, self._used * ctypes.sizeof(_Message))
            ctypes.memmove(self._controls, self._no_controls, self._used * ctypes.sizeof(_Control))
        count = self._recvmmsg(source.fileno(), self._first, ROOM, 0, None)
        self._used = max(count, 0)
        if count < 0:
            error = ctypes.get_errno()
            if error == errno.EAGAIN:
                return []
            raise OSError(error, os.strerror(error))
        columns = (self._lengths[:count].tolist(), self._seconds[:count].tolist(), self._nanoseconds[:count].tolist())
        return [(slot[:length], s * _SECOND + ns) for slot, length, s, ns in zip(self._slots, *columns, strict=False)]

    def sender(self, number: int) -> tuple[Any, ...]:
        """Where that datagram of the last call came from, as Python's sockets have addresses."""
        name = self._names[number]
        if name.family == socket.AF_INET:
            port, address = _INET.unpack_from(name.rest)
            return socket.inet_ntop(socket.AF_INET, address), port
        port, flow, address, scope = _INET6.unpack_from(name.rest)
        return socket.inet_ntop(socket.AF_INET6, address), port, flow, scope


def _column(array: Any, of: Any, field: str, form: Literal["I", "l"]) -> "memoryview[int]":
    """One field of all structures in an array."""
    place = getattr(of, field)
    cells = memoryview(array).cast("B").cast(form)
    return cells[place.offset // place.size :: ctypes.sizeof(of) // place.size]
