"""Makes a bucket and a container: make_rooms.py S3_URL BUCKET AZURE_URL CONTAINER"""

import base64
import hashlib
import hmac
import sys
import urllib.request
from email.utils import formatdate

# Azurite's one account; the key is public, in its documentation.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def put(url, headers):
    request = urllib.request.Request(url, method="PUT", headers=headers)
    # No proxy: the servers are here.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30):
        pass


def shared_key(path, query, headers):
    """The signature of a PUT without a body."""
    canonical_headers = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical_query = "".join(f"\n{name}:{query[name]}" for name in sorted(query))
    text = "PUT" + "\n" * 12 + f"{canonical_headers}/{ACCOUNT}{path}{canonical_query}"
    digest = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    return f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"


s3_url, bucket, azure_url, container = sys.argv[1:]

put(f"{s3_url}/{bucket}", {})

path = f"/{ACCOUNT}/{container}"
headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
headers["Authorization"] = shared_key(path, {"restype": "container"}, headers)
put(f"{azure_url}{path}?restype=container", headers)
