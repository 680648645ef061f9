"""Prints what http://NAME:PORT/ answers."""

import sys
import urllib.request

with urllib.request.urlopen(f"http://{sys.argv[1]}:{sys.argv[2]}/", timeout=10) as response:
    print(response.read().decode(), end="")
