#!/usr/bin/env python3
"""handshakes.py INTERFACE: WireGuard's handshake initiations on an interface, one a line: when (seconds since 1970), "to" or "from" the node behind
it, and the port there. Ends when it is ended."""
import socket
import struct
import sys
import time

PACKET_OUTGOING = 4
ALL = 0x0003  # what goes out is shown to none but those who want all
IPV4 = 0x0800
UDP = 17
INITIATION = 148  # bytes, the first of them 1

packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ALL))
packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
packets.bind((sys.argv[1], ALL))
print("ready", flush=True)
while True:
    packet, address = packets.recvfrom(2048)
    if address[1] != IPV4:
        continue
    header = (packet[0] & 15) * 4
    if packet[9] != UDP or len(packet) < header + 8 + INITIATION:
        continue
    source, target, length = struct.unpack_from("!HHH", packet, header)
    if length != 8 + INITIATION or packet[header + 8] != 1:
        continue
    to_node = address[2] == PACKET_OUTGOING
    print(f"{time.time():.6f} {'to' if to_node else 'from'} {target if to_node else source}", flush=True)
