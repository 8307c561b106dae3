"""DICOM peers of all tempers on free ports of the loopback, until standard input ends. Prints their ports as JSON, by name.

With a folder of certificates as argument, those behind TLS are among them.
"""

import json
import socket
import ssl
import sys
import threading
from pathlib import Path

from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, Verification


def serve(title, contexts=(Verification,), handlers=(), tls=None, **rules):
    """Starts a peer and gives its port."""
    ae = AE(ae_title=title)
    for context in contexts:
        ae.add_supported_context(context, scu_role=False, scp_role=True)
    for name, value in rules.items():
        setattr(ae, name, value)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=list(handlers), ssl_context=tls)
    return server.server_address[1]


def rude():
    """A peer that answers with an A-ABORT of the service user (PS3.8, 9.3.8). pynetdicom may close before it is heard."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        while True:
            connection, _ = listener.accept()
            with connection:
                head = connection.recv(6, socket.MSG_WAITALL)
                connection.recv(int.from_bytes(head[2:], "big"), socket.MSG_WAITALL)
                connection.sendall(b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00")
                connection.recv(1)

    threading.Thread(target=answer, daemon=True).start()
    return listener.getsockname()[1]


def context(folder, mutual):
    """The TLS of a peer, which asks for a certificate of our authority or for none."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "peer.pem", folder / "peer.key")
    if mutual:
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.load_verify_locations(folder / "ca.pem")
    return tls


ports = {
    "good": serve("GOOD"),
    "picky": serve("PICKY", require_calling_aet=["SOMEBODY"]),
    "other": serve("OTHER", require_called_aet=True),
    "storage": serve("STORAGE", contexts=(CTImageStorage,)),
    "rude": rude(),
    "ill": serve("ILL", handlers=[(evt.EVT_C_ECHO, lambda event: 0x0122)]),
}
if len(sys.argv) > 1:
    folder = Path(sys.argv[1])
    ports["tls"] = serve("TLS", tls=context(folder, mutual=False))
    ports["mutual"] = serve("MUTUAL", tls=context(folder, mutual=True))
print(json.dumps(ports), flush=True)
sys.stdin.read()
