"""A replica of the demo: answers over HTTP and UDP, on every address, with the name it is given."""

import http.server
import socket
import sys
import threading

name, port = sys.argv[1], int(sys.argv[2])


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (name + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


def answer_datagrams(sock):
    while True:
        _, sender = sock.recvfrom(2048)
        sock.sendto((name + "\n").encode(), sender)


datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
datagrams.bind(("::", port))
threading.Thread(target=answer_datagrams, args=(datagrams,), daemon=True).start()
server = Server(("::", port), Handler)
print("ready", flush=True)
server.serve_forever()
