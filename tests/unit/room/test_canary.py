"""How the canary's outcome is judged."""

import msgspec
import pytest

from airlock.core.errors import RoomError
from airlock.room import canary
from airlock.room.report import CanaryResult, NameQuery, PacketCount, RefusedPackets, RefusedSocket

TRIES = canary.attempts("abc")
REFUSED = {n: "unknown-name" if attempt.name else "111" for n, attempt in enumerate(TRIES)}
PACKETS = PacketCount(
    packets=9,
    refused=tuple(
        RefusedPackets(
            family="ipv6" if ":" in attempt.packet[0] else "ipv4",
            daddr=attempt.packet[0],
            protocol=attempt.packet[1],
            port=attempt.packet[2],
            packets=1,
        )
        for attempt in TRIES
        if attempt.packet
    ),
)
NAMES = [NameQuery(name=a.name, type="A", kind="refused", image=canary.IMAGE) for a in TRIES if a.name]
SOCKETS = [
    RefusedSocket(call=a.socket[0], family=a.socket[1], type=a.socket[2], protocol=0, program="", image=canary.IMAGE)
    for a in TRIES
    if a.socket
]


def judged(outcomes=REFUSED, packets=PACKETS, names=NAMES, sockets=SOCKETS) -> CanaryResult:
    attempts = canary.judge(TRIES, outcomes, "build container", packets, names, sockets)
    return CanaryResult(attempts=tuple(attempts), packets_counted=packets.packets)


def test_a_room_where_all_is_refused_and_recorded_is_sealed():
    canary.require(judged())


@pytest.mark.parametrize("number", range(len(TRIES)))
@pytest.mark.parametrize("outcome", ["out", "timeout", None])
def test_one_attempt_that_was_not_refused_at_once_forbids_the_build(number, outcome):
    outcomes = {n: said for n, said in (REFUSED | {number: outcome}).items() if said is not None}
    with pytest.raises(RoomError, match="not sealed") as error:
        canary.require(judged(outcomes))
    assert TRIES[number].what in error.value.message


@pytest.mark.parametrize("number", range(len(PACKETS.refused)))
def test_a_packet_that_was_refused_but_not_counted_forbids_the_build(number):
    rest = PACKETS.refused[:number] + PACKETS.refused[number + 1 :]
    with pytest.raises(RoomError, match="nothing recorded it"):
        canary.require(judged(packets=msgspec.structs.replace(PACKETS, refused=rest)))


@pytest.mark.parametrize("number", range(len(SOCKETS)))
def test_a_socket_that_was_refused_but_not_recorded_forbids_the_build(number):
    with pytest.raises(RoomError, match="nothing recorded it"):
        canary.require(judged(sockets=SOCKETS[:number] + SOCKETS[number + 1 :]))


def test_a_name_that_was_not_recorded_forbids_the_build():
    with pytest.raises(RoomError, match="looking up a name"):
        canary.require(judged(names=[]))


def test_what_a_build_did_is_not_taken_for_the_canarys_own():
    others = [msgspec.structs.replace(entry, image="keystone") for entry in SOCKETS]
    with pytest.raises(RoomError):
        canary.require(judged(sockets=others))


def test_no_attempt_at_all_is_no_proof():
    with pytest.raises(RoomError):
        canary.require(CanaryResult())


def test_the_canarys_file_system_is_the_same_each_time():
    assert canary.rootfs() == canary.rootfs()
