"""Jobs that go for the network, of every family."""

from __future__ import annotations

from typing import Any

from tests.hostile_jobs.reach import Target, call, libc, module, payload, worked

NETWORK = "network"


@payload(NETWORK)
def connect_by_tcp(_key: str, target: Target) -> Any:
    socket = module("socket")
    socket.create_connection(("127.0.0.1", target["tcp"])).sendall(b"was here")


@payload(NETWORK)
def connect_as_it_sends(_key: str, target: Target) -> Any:
    socket = module("socket")
    stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    stream.sendto(b"was here", socket.MSG_FASTOPEN, ("127.0.0.1", target["tcp"]))


@payload(NETWORK)
def send_by_udp(_key: str, target: Target) -> Any:
    socket = module("socket")
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"was here", ("127.0.0.1", target["udp"]))


@payload(NETWORK)
def connect_by_a_named_unix_socket(_key: str, target: Target) -> Any:
    stream = module("socket").socket(module("socket").AF_UNIX)
    stream.connect(target["unix"])
    stream.sendall(b"was here")


@payload(NETWORK)
def connect_by_an_abstract_unix_socket(_key: str, target: Target) -> Any:
    stream = module("socket").socket(module("socket").AF_UNIX)
    stream.connect("\0" + target["abstract"])
    stream.sendall(b"was here")


@payload(NETWORK)
def listen_for_others(_key: str, _target: Target) -> Any:
    socket = module("socket")
    stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    stream.bind(("127.0.0.1", 0))
    stream.listen()
    return worked(stream.getsockname()[1])


@payload(NETWORK)
def ask_the_kernel_for_its_interfaces(_key: str, _target: Target) -> Any:
    socket = module("socket")
    route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    route.bind((0, 0))
    return worked(route.getsockname())


@payload(NETWORK, unless="it does without")
def use_the_kernels_ciphers(_key: str, _target: Target) -> Any:
    socket = module("socket")
    return worked(socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET, 0))


@payload(NETWORK)
def open_sockets_of_every_family(_key: str, _target: Target) -> Any:
    opened = [libc().socket(family, kind, 0) for family in range(46) for kind in (1, 2, 3, 5)]
    return worked(max(opened) >= 0)


@payload(NETWORK)
def make_a_pair_of_sockets(_key: str, _target: Target) -> Any:
    return worked(module("socket").socketpair())


@payload(NETWORK)
def open_a_socket_by_system_call(_key: str, _target: Target) -> Any:
    return worked(max(call("socket", 2, 1, 0), call(0x40000000 | 41, 2, 1, 0)) >= 0)


@payload(NETWORK)
def look_up_a_name(_key: str, _target: Target) -> Any:
    ctypes = module("ctypes")
    found = ctypes.c_void_p()
    return worked(libc().getaddrinfo(b"localhost", b"80", None, ctypes.byref(found)) == 0)


@payload(NETWORK)
def use_its_own_stream_as_a_socket(_key: str, _target: Target) -> Any:
    """Take descriptors from, or give them to, whoever is at the other end."""
    socket = module("socket")
    ours, theirs = socket.socketpair()
    socket.send_fds(ours, [b"x"], [0])
    return worked(socket.recv_fds(theirs, 1, 1)[1])
