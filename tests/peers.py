"""DICOM peers of all tempers on free ports of the loopback, until standard input ends. Prints their ports as JSON, by name.

With a folder of certificates as argument, those behind TLS are among them.
"""

import json
import ssl
import sys
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


def abort(event):
    event.assoc.abort()


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
    "rude": serve("RUDE", handlers=[(evt.EVT_REQUESTED, abort)]),
    "ill": serve("ILL", handlers=[(evt.EVT_C_ECHO, lambda event: 0x0122)]),
}
if len(sys.argv) > 1:
    folder = Path(sys.argv[1])
    ports["tls"] = serve("TLS", tls=context(folder, mutual=False))
    ports["mutual"] = serve("MUTUAL", tls=context(folder, mutual=True))
print(json.dumps(ports), flush=True)
sys.stdin.read()
