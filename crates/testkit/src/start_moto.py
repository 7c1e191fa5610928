# Runs moto on a free port of loopback, and ends when its standard input does, so that it never
# outlives the test that started it. Moto itself prints the address it got.
import os
import sys
import threading

from moto.server import main


def watch():
    sys.stdin.buffer.read()
    os._exit(0)


threading.Thread(target=watch, daemon=True).start()
main(["-H", "127.0.0.1", "-p", "0"])
