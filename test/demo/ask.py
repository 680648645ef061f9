"""Asks a name over UDP once, through the system's resolver, and prints the answer and who gave it."""

import socket
import sys

address = socket.getaddrinfo(sys.argv[1], int(sys.argv[2]), type=socket.SOCK_DGRAM)[0]
with socket.socket(address[0], address[1]) as sock:
    sock.settimeout(2)
    sock.sendto(b"who are you?", address[4])
    print(sock.recv(2048).decode().strip())
