"""Every request comes from an address of its own, or the limit on wrong tokens would answer for the check of them.

Set where requests are sent: to Schemathesis, a header that is set by its own hooks is one that was tested.
"""

from ipaddress import IPv4Address
from itertools import count

from requests.adapters import HTTPAdapter

addresses = count(int(IPv4Address("10.0.0.1")))


def add_headers(self, request, **kwargs):
    request.headers["X-Forwarded-For"] = str(IPv4Address(next(addresses)))


HTTPAdapter.add_headers = add_headers
