"""Makes the known answers for envelope v1 without any of our own code.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install cryptography==50.0.2
    /tmp/venv/bin/python make_vectors.py > known_answers_v1.json

All inputs are fixed, so the output never changes.
"""

import hashlib
import hmac
import json
import struct
import uuid

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand


def lp(part):
    return struct.pack(">I", len(part)) + part


def fixed(label, length):
    """Reproducible bytes that look random."""
    return hashlib.shake_256(b"patchbay vector " + label.encode()).digest(length)


def scope_hash(scope):
    return hashlib.sha256(b"patchbay/scope/v1\0" + scope.encode()).digest()[:16]


def envelope(case):
    deployment, connector, destination, secret, key_id = (
        uuid.UUID(case[k]).bytes for k in ("deployment", "connector", "destination", "secret", "key_id")
    )
    key, salt, nonce = (bytes.fromhex(case[k]) for k in ("key", "salt", "nonce"))
    context = (
        b"SVCTX1" + lp(deployment) + scope_hash(case["scope"]) + connector + destination + secret
        + struct.pack(">Q", case["version"]) + bytes([case["field_kind"]]) + lp(case["field_name"].encode())
    )
    suite = b"\x01"
    okm = HKDFExpand(
        algorithm=hashes.SHA256(), length=64, info=b"secret-vault/v1/msg\0" + suite + key_id + salt
    ).derive(key)
    header = b"\x01" + suite + key_id + salt + nonce + okm[32:]
    assert len(header) == 94
    sealed = AESGCM(okm[:32]).encrypt(nonce, bytes.fromhex(case["plaintext"]), header + context)
    return {**case, "context": context.hex(), "envelope": (header + sealed).hex()}


def wrap(case):
    context = (
        b"SVWRP1" + bytes([case["kind"]]) + lp(uuid.UUID(case["deployment"]).bytes) + scope_hash(case["scope"])
        + uuid.UUID(case["key_id"]).bytes + struct.pack(">Q", case["term"])
    )
    nonce = bytes.fromhex(case["nonce"])
    sealed = AESGCM(bytes.fromhex(case["wrapping_key"])).encrypt(nonce, bytes.fromhex(case["key"]), context)
    return {**case, "context": context.hex(), "wrapped": (b"\x01" + nonce + sealed).hex()}


def mac(case):
    key = bytes.fromhex(case["key"])
    message = lp(case["label"].encode()) + b"".join(lp(bytes.fromhex(p)) for p in case["parts"])
    return {
        **case,
        "tag": hmac.new(key, message, hashlib.sha256).hexdigest(),
        "check_value": hmac.new(key, b"kcv", hashlib.sha256).hexdigest(),
    }


def envelope_case(name, scope, version, kind, field_name, plaintext):
    ids = {k: str(uuid.UUID(bytes=fixed(f"{name} {k}", 16))) for k in ("deployment", "connector", "destination", "secret", "key_id")}
    return envelope({
        "name": name, "scope": scope, **ids, "version": version, "field_kind": kind, "field_name": field_name,
        "key": fixed(f"{name} key", 32).hex(), "salt": fixed(f"{name} salt", 32).hex(),
        "nonce": fixed(f"{name} nonce", 12).hex(), "plaintext": plaintext.hex(),
    })


def wrap_case(name, kind, scope, term):
    return wrap({
        "name": name, "kind": kind, "scope": scope, "term": term,
        "deployment": str(uuid.UUID(bytes=fixed(f"{name} deployment", 16))),
        "key_id": str(uuid.UUID(bytes=fixed(f"{name} key_id", 16))),
        "wrapping_key": fixed(f"{name} wrapping", 32).hex(), "key": fixed(f"{name} key", 32).hex(),
        "nonce": fixed(f"{name} nonce", 12).hex(),
    })


print(json.dumps({
    "envelopes": [
        envelope_case("one byte", "system", 1, 2, "authorization", b"x"),
        envelope_case("a header", "users/ada", 7, 2, "x-api-key", b"sk-live-0123456789abcdef"),
        envelope_case("a blob", "projects/apollo", 2**63 + 5, 4, "", b'{"API_KEY":"a","TOKEN":"b"}'),
        envelope_case("a name beyond ASCII", "users/ö@example.org", 2, 1, "NÄME", "wört ☃".encode()),
        envelope_case("a page", "users/ada", 3, 9, "url", fixed("page", 4096)),
    ],
    "wraps": [
        wrap_case("root", 1, "", 1),
        wrap_case("data", 2, "users/ada", 4),
        wrap_case("audit", 3, "", 1),
    ],
    "macs": [
        mac({"label": "grant", "key": fixed("mac", 32).hex(), "parts": [fixed("part", 32).hex()]}),
        mac({"label": "destination", "key": fixed("mac 2", 32).hex(), "parts": ["", "00", fixed("part 2", 100).hex()]}),
    ],
}, indent=1))
