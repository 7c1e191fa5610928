# Runs a mail server on a free port of loopback, and ends when its standard input does. Each mail becomes a file in a directory:
# who it is from and for, then the message. Only the user `mailer` with the password `hunter2` may hand in mail.
#
# Arguments: the directory, and the files of a certificate and its key if the server is to speak TLS from the start.
import asyncio
import logging
import os
import ssl
import sys
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult


logging.disable(logging.CRITICAL)


class Keep:
    def __init__(self, folder):
        self.folder = folder
        self.count = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        path = os.path.join(self.folder, "%04d.eml" % self.count)
        with open(path + ".part", "wb") as mail:
            head = "X-From: %s\nX-To: %s\n" % (envelope.mail_from, ", ".join(envelope.rcpt_tos))
            mail.write(head.encode() + envelope.content)
        os.rename(path + ".part", path)
        return "250 2.0.0 kept"


def check(server, session, envelope, mechanism, data):
    # Not handled: the answer is left to the server.
    success = data.login == b"mailer" and data.password == b"hunter2"
    return AuthResult(success=success, handled=False)


class Mail(Controller):
    def factory(self):
        return SMTP(
            self.handler,
            authenticator=check,
            auth_required=True,
            auth_require_tls=False,
            hostname="localhost",
        )


context = None
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
controller = Mail(Keep(sys.argv[1]), hostname="127.0.0.1", port=0, ssl_context=context)
# Its own start connects to port 0 to see whether it works, which can only fail: the loop is run here.
loop = asyncio.new_event_loop()
server = loop.run_until_complete(
    loop.create_server(controller.factory, host="127.0.0.1", port=0, ssl=context)
)


def watch():
    sys.stdin.buffer.read()
    os._exit(0)


threading.Thread(target=watch, daemon=True).start()
print("listening on %d" % server.sockets[0].getsockname()[1], flush=True)
loop.run_forever()
