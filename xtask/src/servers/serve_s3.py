"""Serves S3 on a free port of the loopback interface and prints the address.

One thread: moto looks at a condition and writes in two steps, and threads come between them.
"""

import os
import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server


def end_with_stdin():
    sys.stdin.read()
    os._exit(0)


app = DomainDispatcherApplication(create_backend_app)
server = make_server("127.0.0.1", 0, app, threaded=False, request_handler=MotoRequestHandler)
threading.Thread(target=end_with_stdin, daemon=True).start()
print(f"http://127.0.0.1:{server.port}", flush=True)
server.serve_forever()
