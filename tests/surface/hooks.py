"""What differs in each request, set where requests are sent: a header that hooks of Schemathesis set counts as tested."""

import re
from ipaddress import IPv4Address
from itertools import count
from uuid import uuid4

from requests.adapters import HTTPAdapter

addresses = count(int(IPv4Address("10.0.0.1")))


def add_headers(self, request, **kwargs):
    # From one address, wrong tokens are soon answered 429, which is not what the check of them waits for.
    request.headers["X-Forwarded-For"] = str(IPv4Address(next(addresses)))
    # Used twice, a key is rightly answered 409, or as the first time: as if what was deleted since were made again.
    key = request.headers.get("Idempotency-Key", "")
    if re.fullmatch("[!-~]{1,200}", key if isinstance(key, str) else key.decode("latin-1")):
        request.headers["Idempotency-Key"] = str(uuid4())


HTTPAdapter.add_headers = add_headers
